//! What an adapter adds to a product: which rows, which outputs, and of what.

use std::ops::Range;

use super::numbers::{LORA_PANEL, LoraNumbers};
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
    /// B in panels: of each [`LORA_PANEL`] outputs `[rank, LORA_PANEL]`, one behind the other, the last filled up.
    pub b: LoraNumbers<'a>,
    /// `scale * A x`: the rank's numbers of each row.
    pub reduced: &'a [f32],
    /// Numbers from one row of `reduced` to the next; the row begins with those of this delta.
    pub stride: usize,
    /// How many of them belong to it.
    pub rank: usize,
}

/// Where a delta and a tile of its product meet.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Rows of the product.
    pub rows: Range<usize>,
    /// The first of them in the tile.
    pub tile_row: usize,
    /// Outputs of the delta.
    pub outputs: Range<usize>,
    /// The first of them in the tile.
    pub tile_column: usize,
}

impl Meeting {
    /// Panics unless it lies inside both.
    pub(crate) fn check(&self, delta: &RowDelta<'_>, tile: &OutputTile<'_>) {
        let (rows, outputs) = (self.rows.len(), self.outputs.len());
        let is_in_delta = delta.rows.start <= self.rows.start
            && self.rows.end <= delta.rows.end
            && self.outputs.end <= delta.outputs;
        assert!(
            is_in_delta
                && self.tile_row + rows <= tile.rows()
                && self.tile_column + outputs <= tile.columns(),
            "{self:?}"
        );
        assert_eq!(delta.b.len(), delta.numbers(), "B of rank {}", delta.rank);
    }
}

impl RowDelta<'_> {
    /// Numbers of B.
    fn numbers(&self) -> usize {
        self.rank * self.outputs.next_multiple_of(LORA_PANEL)
    }

    /// Where the numbers of B for some outputs stand.
    pub(crate) fn numbers_of(&self, outputs: &Range<usize>) -> Range<usize> {
        let panels = outputs.start / LORA_PANEL..outputs.end.div_ceil(LORA_PANEL);
        panels.start * self.rank * LORA_PANEL..panels.end * self.rank * LORA_PANEL
    }

    /// Where it meets a tile, whose rows and outputs in the product are given.
    pub(crate) fn meets(&self, (rows, outputs): (&Range<usize>, &Range<usize>)) -> Option<Meeting> {
        let first_row = rows.start.max(self.rows.start);
        let own_rows = first_row..rows.end.min(self.rows.end);
        let first = outputs.start.max(self.first_output);
        let end = outputs.end.min(self.first_output + self.outputs);
        (!own_rows.is_empty() && first < end).then(|| Meeting {
            rows: own_rows,
            tile_row: first_row - rows.start,
            outputs: first - self.first_output..end - self.first_output,
            tile_column: first - outputs.start,
        })
    }

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
        assert_eq!(self.b.len(), self.numbers(), "B of rank {}", self.rank);
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
