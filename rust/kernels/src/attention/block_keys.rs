//! What the keys of a block have in common, kept apart from them: one more key for each block, in floats.
//!
//! Keys may share a part that is many times as large as what tells them apart (a bias, turned by their
//! position), beside which few bits leave nothing of the rest. Whoever stores keys takes that part off, and hands it on
//! here: a score is the product with the stored key, and that of a second query with the key of the block.

use super::layout::{SEGMENT_BLOCKS, SEGMENT_TOKENS};
use super::rows::QueryRows;

/// A key of each block, and the queries that meet them.
#[derive(Debug, Clone, Copy)]
pub struct BlockKeys<'a> {
    /// A row for each of the queries, as wide.
    pub queries: QueryRows<'a>,
    /// Those of whole segments from position 0 on, for all heads; where each number stands, [`Self::place`] says.
    pub keys: &'a [f32],
}

impl BlockKeys<'_> {
    /// Numbers that cover so many positions.
    pub const fn elements(positions: usize, head_dim: usize) -> usize {
        positions.div_ceil(SEGMENT_TOKENS) * SEGMENT_BLOCKS * head_dim
    }

    /// Where a number of the key of a block stands: dimension by dimension in each segment.
    pub const fn place(block: usize, dimension: usize, head_dim: usize) -> usize {
        let first = block / SEGMENT_BLOCKS * SEGMENT_BLOCKS * head_dim;
        first + dimension * SEGMENT_BLOCKS + block % SEGMENT_BLOCKS
    }
}
