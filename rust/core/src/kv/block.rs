//! Blocks by reference: the last holder's drop frees a block, so that none is leaked or freed twice.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::BlockId;
use crate::memory::Charge;

/// A block and its holders; positions that are computed are never written again, so holders share it
/// without asking. What was guessed and refused lies behind them, and nobody reads it.
pub type BlockRef = Arc<KvBlock>;

/// One block of the pool, until the last reference to it is gone.
#[derive(Debug)]
pub struct KvBlock {
    id: BlockId,
    ledger: Arc<Ledger>,
    /// References from the prefix cache.
    cached: AtomicU32,
    /// Tables of sequences that it stands in.
    tables: AtomicU32,
    /// On whose account it is; the charge comes off with the block.
    charge: Option<Charge>,
}

impl KvBlock {
    /// Which.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// On whose account it is; empty where on nobody's.
    pub fn tenant(&self) -> &str {
        self.charge
            .as_ref()
            .map_or("", |charge| charge.tenant().name())
    }

    /// Whether the prefix cache holds it.
    pub fn is_cached(&self) -> bool {
        self.cached.load(Ordering::Acquire) > 0
    }

    /// Stands in one table more.
    pub(super) fn enter_table(&self) {
        count_in(&self.tables, &self.ledger.held);
    }

    /// Stands in one table less.
    pub(super) fn leave_table(&self) {
        count_out(&self.tables, &self.ledger.held);
    }
}

/// Counts a reference; the first one counts the block.
fn count_in(references: &AtomicU32, blocks: &AtomicUsize) {
    if references.fetch_add(1, Ordering::AcqRel) == 0 {
        blocks.fetch_add(1, Ordering::AcqRel);
    }
}

/// Counts a reference out; with the last one goes the block.
fn count_out(references: &AtomicU32, blocks: &AtomicUsize) {
    if references.fetch_sub(1, Ordering::AcqRel) == 1 {
        blocks.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for KvBlock {
    fn drop(&mut self) {
        self.ledger.free(self.id);
    }
}

/// A reference from the prefix cache; each block counts once, however many nodes hold it.
#[derive(Debug)]
pub struct CachedBlock(BlockRef);

impl CachedBlock {
    /// Holds a block for the cache.
    pub fn new(block: &BlockRef) -> Self {
        count_in(&block.cached, &block.ledger.cached);
        Self(Arc::clone(block))
    }

    /// The block.
    pub fn block(&self) -> &BlockRef {
        &self.0
    }

    /// Whether nobody but the cache holds it.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == self.0.cached.load(Ordering::Acquire) as usize
    }
}

impl Clone for CachedBlock {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for CachedBlock {
    fn drop(&mut self) {
        count_out(&self.0.cached, &self.0.ledger.cached);
    }
}

/// Which blocks are free, and which pages hold one that is not.
#[derive(Debug)]
pub(super) struct Ledger {
    block_bytes: usize,
    page_bytes: usize,
    state: Mutex<LedgerState>,
    /// Blocks that the prefix cache holds.
    cached: AtomicUsize,
    /// Blocks that stand in tables of sequences.
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct LedgerState {
    /// Free blocks below `fresh`.
    free: BTreeSet<u32>,
    /// No block from here on was ever taken.
    fresh: u32,
    total: u32,
    /// Blocks in use that touch a page.
    users: Vec<u32>,
    /// Pages whose last block was freed.
    emptied: Vec<usize>,
}

impl Ledger {
    pub(super) fn new(total: u32, block_bytes: usize, page_bytes: usize) -> Self {
        let pages = (total as usize * block_bytes).div_ceil(page_bytes);
        Self {
            block_bytes,
            page_bytes,
            state: Mutex::new(LedgerState {
                total,
                users: vec![0; pages],
                ..LedgerState::default()
            }),
            cached: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
        }
    }

    /// The pages of the lowest free block; `None` where all are taken.
    pub(super) fn pages_of_next(&self) -> Option<Range<usize>> {
        self.lock().next().map(|id| self.pages(id))
    }

    /// The lowest free block, so that the pages above become empty; its pages must be leased.
    pub(super) fn take(self: &Arc<Self>, charge: Option<Charge>) -> Option<BlockRef> {
        let mut state = self.lock();
        let id = state.next()?;
        if id == state.fresh {
            state.fresh += 1;
        } else {
            state.free.remove(&id);
        }
        for page in self.pages(id) {
            state.users[page] += 1;
        }
        drop(state);
        Some(Arc::new(KvBlock {
            id: BlockId(id),
            ledger: Arc::clone(self),
            cached: AtomicU32::new(0),
            tables: AtomicU32::new(0),
            charge,
        }))
    }

    fn free(&self, id: BlockId) {
        let mut state = self.lock();
        for page in self.pages(id.0) {
            state.users[page] -= 1;
            if state.users[page] == 0 {
                state.emptied.push(page);
            }
        }
        state.free.insert(id.0);
    }

    /// Pages that became empty and still are.
    pub(super) fn take_emptied(&self) -> Vec<usize> {
        let mut state = self.lock();
        let emptied = std::mem::take(&mut state.emptied);
        let users = &state.users;
        emptied
            .into_iter()
            .filter(|page| users[*page] == 0)
            .collect()
    }

    pub(super) fn free_blocks(&self) -> usize {
        let state = self.lock();
        state.free.len() + (state.total - state.fresh) as usize
    }

    pub(super) fn cached_blocks(&self) -> usize {
        self.cached.load(Ordering::Acquire)
    }

    pub(super) fn held_blocks(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn pages(&self, id: u32) -> Range<usize> {
        let begin = id as usize * self.block_bytes;
        begin / self.page_bytes..(begin + self.block_bytes).div_ceil(self.page_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, LedgerState> {
        // Indexes are checked by construction: nothing under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerState {
    fn next(&self) -> Option<u32> {
        let fresh = (self.fresh < self.total).then_some(self.fresh);
        self.free.first().copied().or(fresh)
    }
}
