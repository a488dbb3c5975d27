//! What an adapter adds to a product: which rows, which outputs, and of what.

use std::ops::Range;

use super::numbers::LoraNumbers;

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

    /// The rank's numbers of a row of the product.
    pub(crate) fn reduced_of(&self, row: usize) -> &[f32] {
        let first = (row - self.rows.start) * self.stride;
        &self.reduced[first..first + self.rank]
    }
}
