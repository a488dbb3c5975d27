//! Blocks in the memory of the processor.

use std::ops::Range;
use std::sync::Arc;

use ruvllm_kernels::{KvStorage, KvTarget, KvView};

use super::groups::{KvGroups, LayerTier};
use super::pool::KvPool;
use super::store::BlockStore;
use crate::error::{Error, Result};
use crate::ids::BlockId;

/// Blocks in one reserved storage. What a block looks like inside is
/// `ruvllm_kernels::KvLayout`.
#[derive(Debug)]
pub struct HostBlocks {
    groups: Arc<KvGroups>,
    storage: KvStorage,
}

impl HostBlocks {
    /// Room for all blocks of a pool.
    pub fn of(pool: &KvPool) -> Result<Self> {
        let (blocks, block_bytes) = (pool.total_blocks(), pool.block_bytes());
        let groups = Arc::clone(pool.groups());
        let storage = KvStorage::zeroed(groups.layout(0), blocks).map_err(|error| {
            Error::OutOfMemory(format!(
                "the key-value pool of {blocks} blocks, {block_bytes} bytes each, cannot be reserved: {error}"
            ))
        })?;
        Ok(Self { groups, storage })
    }

    /// Which layers share blocks.
    pub fn groups(&self) -> &Arc<KvGroups> {
        &self.groups
    }

    /// The bytes of a block.
    pub fn bytes(&self, block: BlockId) -> &[u8] {
        self.storage.block(block.0 as usize)
    }

    /// The bytes of a block, to write.
    pub fn bytes_mut(&mut self, block: BlockId) -> &mut [u8] {
        self.storage.block_mut(block.0 as usize)
    }

    /// The blocks as attention reads those of a group.
    pub fn view(&self, group: usize) -> KvView<'_> {
        self.storage.view_as(self.groups.layout(group))
    }

    /// One layer of the blocks of its group, to write.
    pub fn target(&mut self, tier: LayerTier) -> KvTarget<'_> {
        let layout = self.groups.layout(tier.group);
        KvTarget {
            layout,
            data: self.storage.data_mut_as(layout),
            layer: tier.layer,
        }
    }
}

impl BlockStore for HostBlocks {
    fn copy(&mut self, from: BlockId, to: BlockId) {
        self.storage.copy_block(from.0 as usize, to.0 as usize);
    }

    fn read(&self, block: BlockId, into: &mut Vec<u8>) {
        into.extend_from_slice(self.bytes(block));
    }

    fn write(&mut self, block: BlockId, bytes: &[u8]) {
        self.bytes_mut(block).copy_from_slice(bytes);
    }

    fn release(&mut self, bytes: Range<usize>) {
        self.storage.release(bytes);
    }
}

#[cfg(test)]
mod tests {
    use ruvllm_kernels::{KvFormat, KvLayout};

    use super::*;
    use crate::memory::{PAGE_BYTES, PagePoolConfig, Watermarks};

    const LAYOUT: KvLayout = KvLayout::new(2, (1, 4), KvFormat::I16);

    #[test]
    fn what_is_read_copied_and_written_is_one_block() {
        let config = PagePoolConfig {
            budget_bytes: LAYOUT.block_bytes() * 3,
            page_bytes: PAGE_BYTES,
            watermarks: Watermarks::default(),
        };
        let pool = KvPool::new(KvGroups::whole(2, (1, 4), LAYOUT.format), config).unwrap();
        let mut blocks = HostBlocks::of(&pool).unwrap();
        let [first, second, third] = [0, 1, 2].map(BlockId);
        blocks.write(first, &vec![7; LAYOUT.block_bytes()]);
        blocks.copy(first, third);
        let mut bytes = vec![1];
        for block in [second, third] {
            blocks.read(block, &mut bytes);
        }
        let expected = [(1, 1), (0, LAYOUT.block_bytes()), (7, LAYOUT.block_bytes())];
        let expected = expected.map(|(byte, count)| vec![byte; count]).concat();
        assert_eq!(bytes, expected);
    }
}
