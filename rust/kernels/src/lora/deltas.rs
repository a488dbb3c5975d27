//! What adapters add to a tile of a product that has just been computed.

use std::ops::Range;

use super::numbers::LoraNumbers;
use crate::kernels::Kernels;
use crate::matmul::OutputTile;

/// What one adapter adds to some rows of a product, in some of its columns.
#[derive(Debug, Clone)]
pub struct RowDelta<'a> {
    /// Rows of the product.
    pub rows: Range<usize>,
    /// The first of its outputs, among those of all the product's matrices one behind the other.
    pub first_output: usize,
    /// How many outputs.
    pub outputs: usize,
    /// B turned over, `[rank, outputs]`.
    pub b: LoraNumbers<'a>,
    /// `scale * A x`: the rank's numbers of each row.
    pub reduced: &'a [f32],
    /// Numbers from one row of `reduced` to the next; the row begins with those of this delta.
    pub stride: usize,
    /// How many of them belong to it.
    pub rank: usize,
}

impl RowDelta<'_> {
    /// Whether it lies inside a product.
    ///
    /// # Panics
    ///
    /// Where it does not.
    pub(crate) fn check(&self, tokens: usize, outputs: usize) {
        assert!(
            self.rows.start <= self.rows.end && self.rows.end <= tokens,
            "rows {:?} of {tokens}",
            self.rows
        );
        assert!(
            self.first_output + self.outputs <= outputs,
            "outputs {}.. and {} more of {outputs}",
            self.first_output,
            self.outputs
        );
        assert_eq!(
            self.b.len(),
            self.rank * self.outputs,
            "B of rank {}",
            self.rank
        );
        let needed = match self.rows.len() {
            0 => 0,
            rows => (rows - 1) * self.stride + self.rank,
        };
        assert!(
            self.rank <= self.stride && needed <= self.reduced.len(),
            "A x of {needed}"
        );
    }

    fn reduced_of(&self, row: usize) -> &[f32] {
        let first = (row - self.rows.start) * self.stride;
        &self.reduced[first..first + self.rank]
    }
}

/// Adds to a tile, whose rows and outputs in the product are given, what is its own of each delta.
pub(crate) fn add_deltas(
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
