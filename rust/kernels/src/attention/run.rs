//! Rows of keys and values, and where they go: runs of positions within one block.

use super::layout::{BLOCK_TOKENS, KvLayout};
use super::storage::KvDataMut;

/// Rows of keys and values, `[kv_heads, head_dim]` each, as they stand in a projection.
#[derive(Debug, Clone, Copy)]
pub struct KvRows<'a> {
    /// Row `i` of the keys begins at `i * stride`.
    pub keys: &'a [f32],
    /// Row `i` of the values begins at `i * stride`.
    pub values: &'a [f32],
    /// From one row to the next.
    pub stride: usize,
}

/// Consecutive rows that go to consecutive positions of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvRun {
    /// The block.
    pub block: u32,
    /// The position of the first row inside the block.
    pub position: usize,
    /// The first row.
    pub first_row: usize,
    /// How many rows.
    pub rows: usize,
}

impl KvRun {
    /// The runs of consecutive rows from `first_row` on, which go to positions from `position` on of a block
    /// table that holds them all.
    pub fn of_table(
        table: &[u32],
        position: usize,
        rows: usize,
        first_row: usize,
    ) -> impl Iterator<Item = Self> {
        let mut row = 0;
        std::iter::from_fn(move || {
            let place = position + row;
            let run = Self {
                block: *table.get(place / BLOCK_TOKENS).filter(|_| row < rows)?,
                position: place % BLOCK_TOKENS,
                first_row: first_row + row,
                rows: (rows - row).min(BLOCK_TOKENS - place % BLOCK_TOKENS),
            };
            row += run.rows;
            Some(run)
        })
    }

    /// Panics unless the rows are there, a block has their positions, and `piece` is a layer of one.
    pub(crate) fn check(&self, rows: &KvRows<'_>, layout: KvLayout, piece: &KvDataMut<'_>) {
        let width = layout.kv_heads * layout.head_dim;
        let last = (self.first_row + self.rows).saturating_sub(1);
        let fits = |values: &[f32]| last * rows.stride + width <= values.len();
        assert!(
            self.rows > 0 && self.position + self.rows <= BLOCK_TOKENS,
            "{self:?}"
        );
        assert!(
            rows.stride >= width && fits(rows.keys) && fits(rows.values),
            "{self:?} in rows of {width}"
        );
        assert!(piece.are_of(layout.format), "a block of another format");
        let numbers = piece.elements();
        assert_eq!(numbers, layout.layer_elements(), "a layer of a block");
    }
}
