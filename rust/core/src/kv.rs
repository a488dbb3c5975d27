//! The key-value pool: blocks of sixteen tokens, handed out by reference count.
//!
//! The numbers are one zeroed allocation, which the system commits as blocks are written; the
//! budget in bytes is a bound. What a block looks like inside is `ruvllm_kernels::KvLayout`.

use ruvllm_kernels::{KvData, KvDataMut, KvFormat, KvLayout, KvSlot, KvView, store_kv};

use crate::error::{Error, Result};
use crate::ids::BlockId;

pub use ruvllm_kernels::BLOCK_TOKENS;

/// All blocks of an engine.
#[derive(Debug)]
pub struct KvPool {
    layout: KvLayout,
    numbers: Numbers,
    free: Vec<BlockId>,
    references: Vec<u32>,
}

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<u16>),
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
        let elements = blocks * layout.block_elements();
        let numbers = match layout.format {
            KvFormat::F32 => Numbers::F32(zeroed(elements)?),
            KvFormat::F16 => Numbers::F16(zeroed(elements)?),
        };
        let free = (0..blocks as u32).rev().map(BlockId).collect();
        Ok(Self {
            layout,
            numbers,
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
        let data = match &self.numbers {
            Numbers::F32(numbers) => KvData::F32(numbers),
            Numbers::F16(numbers) => KvData::F16(numbers),
        };
        KvView {
            layout: self.layout,
            data,
        }
    }

    /// Writes one token's keys and values, `[kv_heads, head_dim]` each.
    pub fn store(&mut self, slot: KvSlot, keys: &[f32], values: &[f32]) {
        let mut data = match &mut self.numbers {
            Numbers::F32(numbers) => KvDataMut::F32(numbers),
            Numbers::F16(numbers) => KvDataMut::F16(numbers),
        };
        store_kv(self.layout, &mut data, slot, keys, values);
    }
}

fn zeroed<T: Clone + Default>(elements: usize) -> Result<Vec<T>> {
    let mut numbers = Vec::<T>::new();
    numbers.try_reserve_exact(elements).map_err(|error| {
        Error::OutOfMemory(format!(
            "the key-value pool of {elements} numbers cannot be reserved: {error}"
        ))
    })?;
    drop(numbers);
    // `vec!` of zeros asks the system for zeroed pages, which `resize` would touch one by one.
    Ok(vec![T::default(); elements])
}

#[cfg(test)]
mod tests {
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
