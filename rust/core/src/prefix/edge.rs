//! What an edge of the engine's tree carries: the blocks that hold its tokens.

use crate::kv::{BLOCK_TOKENS, BlockRef, CachedBlock, blocks_for};

use super::radix_tree::EdgeValue;

/// The blocks of an edge's positions. Where the edge begins inside a block, that block also holds what
/// stands before: it takes the place of the parent's.
#[derive(Debug)]
pub(super) struct EdgeBlocks {
    start: usize,
    blocks: Vec<CachedBlock>,
}

impl EdgeBlocks {
    /// The blocks of positions `start..end` out of a sequence's table.
    pub(super) fn of(table: &[BlockRef], start: usize, end: usize) -> Self {
        Self::new(start, &table[start / BLOCK_TOKENS..blocks_for(end)])
    }

    /// An edge that begins at position `start`, inside or at the beginning of the first block.
    pub(super) fn new(start: usize, blocks: &[BlockRef]) -> Self {
        Self {
            start,
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
            blocks: rest,
        }
    }
}
