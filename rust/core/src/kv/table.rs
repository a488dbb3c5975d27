//! A sequence's blocks in the order of its positions.

use std::sync::Arc;

use super::block::BlockRef;
use crate::ids::BlockId;

/// The blocks that one sequence holds, and their ids as attention reads them. Both change together, so that
/// a step has its table ready; the pool counts which of its blocks stand in any.
#[derive(Debug, Default)]
pub struct BlockTable {
    blocks: Vec<BlockRef>,
    /// Shared with the batch of a step; alone between two steps, and so changed in place.
    ids: Arc<Vec<u32>>,
}

impl BlockTable {
    /// Adds the block of the next positions.
    pub fn push(&mut self, block: BlockRef) {
        let BlockId(id) = block.id();
        Arc::make_mut(&mut self.ids).push(id);
        block.enter_table();
        self.blocks.push(block);
    }

    /// Takes the last block out.
    pub fn pop(&mut self) -> Option<BlockRef> {
        let block = self.blocks.pop()?;
        Arc::make_mut(&mut self.ids).pop();
        block.leave_table();
        Some(block)
    }

    /// Lets all of them go.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The blocks.
    pub fn blocks(&self) -> &[BlockRef] {
        &self.blocks
    }

    /// Their ids.
    pub fn ids(&self) -> &Arc<Vec<u32>> {
        &self.ids
    }
}

impl FromIterator<BlockRef> for BlockTable {
    fn from_iter<I: IntoIterator<Item = BlockRef>>(blocks: I) -> Self {
        let mut table = Self::default();
        blocks.into_iter().for_each(|block| table.push(block));
        table
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.blocks.iter().for_each(|block| block.leave_table());
    }
}
