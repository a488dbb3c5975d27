//! The key-value pool: blocks of sixteen tokens, handed out by reference count.
//!
//! The numbers are one zeroed storage, which the system commits as blocks are written; the budget in
//! bytes is a bound. What a block looks like inside is `ruvllm_kernels::KvLayout`.

use ruvllm_kernels::{KvLayout, KvStorage, KvTarget, KvView};

use crate::error::{Error, Result};
use crate::ids::BlockId;

pub use ruvllm_kernels::BLOCK_TOKENS;

/// All blocks of an engine.
#[derive(Debug)]
pub struct KvPool {
    layout: KvLayout,
    storage: KvStorage,
    free: Vec<BlockId>,
    references: Vec<u32>,
}

impl KvPool {
    /// As many blocks as fit into `bytes`.
    pub fn new(layout: KvLayout, bytes: usize) -> Result<Self> {
        let block_bytes = layout.block_bytes();
        let blocks = bytes / block_bytes.max(1);
        if blocks == 0 || u32::try_from(blocks).is_err() {
            return Err(Error::Config(format!(
                "kv_cache_bytes = {bytes} makes {blocks} blocks; a block of {BLOCK_TOKENS} tokens needs {block_bytes} bytes"
            )));
        }
        let storage = KvStorage::zeroed(layout, blocks).map_err(|error| {
            Error::OutOfMemory(format!(
                "the key-value pool of {blocks} blocks, {block_bytes} bytes each, cannot be reserved: {error}"
            ))
        })?;
        let free = (0..blocks as u32).rev().map(BlockId).collect();
        Ok(Self {
            layout,
            storage,
            free,
            references: vec![0; blocks],
        })
    }

    /// The layout of every block.
    pub fn layout(&self) -> KvLayout {
        self.layout
    }

    /// Blocks that nobody holds.
    pub fn free_blocks(&self) -> usize {
        self.free.len()
    }

    /// Blocks in all.
    pub fn total_blocks(&self) -> usize {
        self.references.len()
    }

    /// A block of one's own; `None` when all are taken.
    pub fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        self.references[block.0 as usize] = 1;
        Some(block)
    }

    /// One more holder of a block.
    pub fn share(&mut self, block: BlockId) -> Result<()> {
        match self.references.get_mut(block.0 as usize) {
            Some(count) if *count > 0 => {
                *count += 1;
                Ok(())
            }
            _ => Err(Error::KvCache(format!(
                "block {} is shared but nobody holds it",
                block.0
            ))),
        }
    }

    /// One holder less; the last one frees the block. Giving back a free block is an error.
    pub fn give_back(&mut self, block: BlockId) -> Result<()> {
        match self.references.get_mut(block.0 as usize) {
            Some(count) if *count > 0 => {
                *count -= 1;
                if *count == 0 {
                    self.free.push(block);
                }
                Ok(())
            }
            _ => Err(Error::KvCache(format!(
                "block {} is given back but nobody holds it",
                block.0
            ))),
        }
    }

    /// The pool as attention reads it.
    pub fn view(&self) -> KvView<'_> {
        self.storage.view()
    }

    /// One layer of the pool, to write.
    pub fn target(&mut self, layer: usize) -> KvTarget<'_> {
        KvTarget {
            layout: self.layout,
            data: self.storage.data_mut(),
            layer,
        }
    }
}

#[cfg(test)]
mod tests {
    use ruvllm_kernels::KvFormat;

    use super::*;

    fn pool(blocks: usize) -> KvPool {
        let layout = KvLayout {
            layers: 2,
            kv_heads: 1,
            head_dim: 4,
            format: KvFormat::F16,
        };
        KvPool::new(layout, layout.block_bytes() * blocks).unwrap()
    }

    #[test]
    fn blocks_come_back_when_the_last_holder_lets_go() {
        let mut pool = pool(2);
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        assert_ne!(first, second);
        assert!(pool.take().is_none());
        pool.share(first).unwrap();
        pool.give_back(first).unwrap();
        assert_eq!(pool.free_blocks(), 0);
        pool.give_back(first).unwrap();
        assert_eq!(pool.free_blocks(), 1);
    }

    #[test]
    fn a_double_free_is_an_error() {
        let mut pool = pool(1);
        let block = pool.take().unwrap();
        pool.give_back(block).unwrap();
        assert!(matches!(pool.give_back(block), Err(Error::KvCache(_))));
        assert!(matches!(pool.share(block), Err(Error::KvCache(_))));
    }

    #[test]
    fn a_budget_below_one_block_is_refused() {
        let layout = KvLayout {
            layers: 2,
            kv_heads: 1,
            head_dim: 4,
            format: KvFormat::F32,
        };
        assert!(matches!(
            KvPool::new(layout, layout.block_bytes() - 1),
            Err(Error::Config(_))
        ));
    }
}
