//! What adapters add to a tile of a product that has just been computed.

use std::ops::Range;

use super::output::OutputTile;
use crate::kernels::Kernels;
use crate::lora::RowDelta;

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
