//! What adapters add to a tile of a product that has just been computed.

use std::ops::Range;

use super::output::OutputTile;
use crate::kernels::Kernels;
use crate::lora::RowDelta;

/// Asks memory for what [`add_deltas`] will add to a tile, which is computed meanwhile: each adapter's part of it is
/// too short for the processor to see what comes.
pub(super) fn ask_ahead(deltas: &[RowDelta<'_>], place: (&Range<usize>, &Range<usize>)) {
    for delta in deltas {
        if let Some(meeting) = delta.meets(place) {
            delta.b.part(delta.numbers_of(&meeting.outputs)).ask_ahead();
        }
    }
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
