//! Blocks of one layer for many threads: who stores and who attends wait for each other.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ruvllm_kernels::{AttentionShape, KvFormat};

use crate::error::{Error, Result};

use super::compute::Compute;
use super::layer_blocks::{LayerBlocks, LayerTail};

/// [`LayerBlocks`] behind a lock.
#[derive(Debug)]
pub struct SharedLayerBlocks(Mutex<LayerBlocks>);

impl SharedLayerBlocks {
    /// So many blocks, of zeros.
    pub fn new(blocks: usize, heads: (usize, usize), format: KvFormat) -> Result<Self> {
        LayerBlocks::new(blocks, heads, format).map(|blocks| Self(Mutex::new(blocks)))
    }

    /// How many blocks there are, and bytes of each.
    pub fn size(&self) -> (usize, usize) {
        let blocks = self.lock();
        (blocks.num_blocks(), blocks.block_bytes())
    }

    /// As [`LayerBlocks::store`].
    pub fn store(
        &self,
        compute: Compute<'_>,
        place: (&[u32], usize),
        keys: &[f32],
        values: &[f32],
    ) -> Result<()> {
        self.lock().store(compute, place, keys, values)
    }

    /// As [`LayerBlocks::rows`].
    pub fn rows(&self, table: &[u32], positions: Range<usize>) -> Result<(Vec<f32>, Vec<f32>)> {
        self.lock().rows(table, positions)
    }

    /// As [`LayerBlocks::attend`]; of a tail: its blocks, their table, and how many of the last tokens are seen there.
    pub fn attend(
        &self,
        compute: Compute<'_>,
        shape: AttentionShape,
        queries: &[f32],
        rows: (&[(usize, usize)], &[u32]),
        tail: Option<(&Self, &[u32], usize)>,
    ) -> Result<Vec<f32>> {
        let Some((near, table, tokens)) = tail else {
            return self.lock().attend(compute, shape, queries, rows, None);
        };
        let (store, near) = self.lock_with(near)?;
        let tail = LayerTail {
            blocks: &near,
            table,
            tokens,
        };
        store.attend(compute, shape, queries, rows, Some(tail))
    }

    fn lock(&self) -> MutexGuard<'_, LayerBlocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both, always in the order of their addresses, so that two who wait do not wait for each other.
    fn lock_with<'a>(
        &'a self,
        tail: &'a Self,
    ) -> Result<(MutexGuard<'a, LayerBlocks>, MutexGuard<'a, LayerBlocks>)> {
        match std::ptr::from_ref(self).cmp(&std::ptr::from_ref(tail)) {
            Ordering::Less => {
                let own = self.lock();
                Ok((own, tail.lock()))
            }
            Ordering::Greater => {
                let near = tail.lock();
                Ok((self.lock(), near))
            }
            Ordering::Equal => Err(Error::Config("a tail has blocks of its own".to_owned())),
        }
    }
}
