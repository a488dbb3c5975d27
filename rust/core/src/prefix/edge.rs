//! What an edge of the engine's tree carries: the blocks that hold its tokens.

use crate::kv::{BLOCK_TOKENS, BlockRef, CachedBlock, blocks_for};

use super::radix_tree::EdgeValue;

/// The blocks of an edge's positions. Where the edge begins inside a block, that block also holds what
/// stands before: it takes the place of the parent's.
#[derive(Debug)]
pub(super) struct EdgeBlocks {
    start: usize,
    blocks: Vec<CachedBlock>,
    /// Whether the first block is one that a node above holds as well: it counts there.
    shares_first: bool,
}

impl EdgeBlocks {
    /// The blocks of positions `start..end` out of a sequence's table.
    pub(super) fn of(table: &[BlockRef], start: usize, end: usize) -> Self {
        Self::new(start, &table[start / BLOCK_TOKENS..blocks_for(end)])
    }

    /// An edge that begins at position `start`, inside or at the beginning of the first block.
    pub(super) fn new(start: usize, blocks: &[BlockRef]) -> Self {
        // Who computed it may have made the block's beginning known before, and gone on in it. Nothing
        // else holds it then: the way to here is what leads to it.
        let is_inside = !start.is_multiple_of(BLOCK_TOKENS);
        Self {
            start,
            shares_first: is_inside && blocks.first().is_some_and(|block| block.is_cached()),
            blocks: blocks.iter().map(CachedBlock::new).collect(),
        }
    }

    /// Puts them into a table, over what the nodes above have put there.
    pub(super) fn lay_over(&self, table: &mut Vec<BlockRef>) {
        table.truncate(self.start / BLOCK_TOKENS);
        table.extend(self.blocks.iter().map(|cached| cached.block().clone()));
    }

    pub(super) fn blocks(&self) -> &[CachedBlock] {
        &self.blocks
    }
}

impl EdgeValue for EdgeBlocks {
    fn split_off(&mut self, at: usize) -> Self {
        let first = self.start / BLOCK_TOKENS;
        let border = self.start + at;
        let rest = self.blocks[border / BLOCK_TOKENS - first..].to_vec();
        self.blocks.truncate(blocks_for(border) - first);
        Self {
            start: border,
            shares_first: !border.is_multiple_of(BLOCK_TOKENS),
            blocks: rest,
        }
    }

    /// The blocks that it keeps besides those of the nodes above.
    fn weight(&self) -> usize {
        self.blocks.len() - usize::from(self.shares_first)
    }
}
