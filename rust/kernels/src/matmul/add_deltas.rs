//! What adapters add to a tile of a product that has just been computed.

use std::ops::Range;

use super::output::OutputTile;
use crate::kernels::Kernels;
use crate::lora::RowDelta;
use crate::read_ahead::ReadAhead;

/// What [`add_deltas`] reads for a tile: to be asked for while that is computed, since each adapter's part of it is
/// too short for the processor to see what comes.
pub(super) fn numbers_for<'a>(
    deltas: &'a [RowDelta<'_>],
    place: (&'a Range<usize>, &'a Range<usize>),
) -> impl Iterator<Item = ReadAhead> + 'a {
    let meetings = deltas
        .iter()
        .filter_map(move |delta| Some((delta, delta.meets(place)?)));
    meetings.map(|(delta, meeting)| {
        delta
            .b
            .part(delta.numbers_of(&meeting.outputs))
            .read_ahead()
    })
}

/// Adds to a tile, whose rows and outputs in the product are given, what is its own of each delta.
pub(super) fn add_deltas(
    kernels: &dyn Kernels,
    deltas: &[RowDelta<'_>],
    place: (&Range<usize>, &Range<usize>),
    tile: &mut OutputTile<'_>,
) {
    for delta in deltas {
        if let Some(meeting) = delta.meets(place) {
            kernels.lora_expand(delta, &meeting, tile);
        }
    }
}
