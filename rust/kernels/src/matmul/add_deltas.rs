//! What adapters add to a tile of a product that has just been computed.

use std::ops::Range;

use super::output::OutputTile;
use crate::kernels::Kernels;
use crate::lora::RowDelta;

/// Adds to a tile, whose rows and outputs in the product are given, what is its own of each delta.
pub(super) fn add_deltas(
    kernels: &dyn Kernels,
    deltas: &[RowDelta<'_>],
    (rows, outputs): (&Range<usize>, &Range<usize>),
    tile: &mut OutputTile<'_>,
) {
    for delta in deltas {
        let first = outputs.start.max(delta.first_output);
        let end = outputs.end.min(delta.first_output + delta.outputs);
        if first >= end {
            continue;
        }
        for row in rows.start.max(delta.rows.start)..rows.end.min(delta.rows.end) {
            let columns = first - outputs.start..end - outputs.start;
            let y = &mut tile.row_mut(row - rows.start)[columns];
            let b = (delta.b, delta.outputs);
            kernels.lora_expand(b, first - delta.first_output, delta.reduced_of(row), y);
        }
    }
}
