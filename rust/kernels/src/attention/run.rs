//! Where rows of keys and values go: runs of positions within one block.

use super::layout::BLOCK_TOKENS;

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
}
