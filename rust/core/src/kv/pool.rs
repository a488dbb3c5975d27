//! The key-value pool: blocks of sixteen tokens on pages of the budget.
//!
//! It knows which are taken, by whom, and on which pages they are: those are leased from the budget when the first of
//! their blocks is taken, and go back to the system when the last is freed. The bytes are in a [`BlockStore`].

use std::sync::Arc;

use ruvllm_kernels::BLOCK_TOKENS;

use super::block::{BlockRef, Ledger};
use super::groups::KvGroups;
use super::store::BlockStore;
use crate::error::{Error, Result};
use crate::memory::{Kind, Lease, PagePool, PagePoolConfig, Tenant};

/// All blocks of an engine.
#[derive(Debug)]
pub struct KvPool {
    block_bytes: usize,
    groups: Arc<KvGroups>,
    ledger: Arc<Ledger>,
    total: usize,
    pages: Arc<PagePool>,
    /// One for each page that is in use, up to the highest that ever was: of how many there may be nobody knows whether
    /// they can be reserved.
    leases: Vec<Option<Lease>>,
}

/// Why there is no block.
#[derive(Debug, Clone)]
pub enum Shortage {
    /// All blocks are taken.
    Blocks,
    /// Other owners have the pages.
    Pages,
    /// This tenant's quota is used up.
    Quota(Arc<Tenant>),
}

impl KvPool {
    /// As many blocks as fit into the budget; a block has the layers of one of the groups.
    pub fn new(groups: KvGroups, config: PagePoolConfig) -> Result<Self> {
        let (bytes, block_bytes) = (config.budget_bytes, groups.block_bytes());
        let blocks = bytes / block_bytes.max(1);
        let count = u32::try_from(blocks).ok().filter(|count| *count > 0);
        let Some(count) = count else {
            return Err(Error::Config(format!(
                "kv_cache_bytes = {bytes} makes {blocks} blocks; a block of {BLOCK_TOKENS} tokens needs {block_bytes} bytes"
            )));
        };
        let pages = PagePool::new(config)?;
        Ok(Self {
            block_bytes,
            groups: Arc::new(groups),
            ledger: Arc::new(Ledger::new(count, block_bytes, config.page_bytes)),
            total: blocks,
            pages,
            leases: Vec::new(),
        })
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Which layers share blocks.
    pub fn groups(&self) -> &Arc<KvGroups> {
        &self.groups
    }

    /// The budget that the pages come from.
    pub fn pages(&self) -> &Arc<PagePool> {
        &self.pages
    }

    /// Blocks that nobody holds, and for which there are pages.
    pub fn free_blocks(&self) -> usize {
        let free = self.ledger.free_blocks();
        free.min(self.room_blocks().saturating_sub(self.total - free))
    }

    /// Blocks for which there are pages, held or not: others of the budget may have the rest of them in use.
    pub fn room_blocks(&self) -> usize {
        let bytes = self.pages.pages_for(Kind::Kv) * self.pages.config().page_bytes;
        self.total.min(bytes / self.block_bytes)
    }

    /// Blocks in all.
    pub fn total_blocks(&self) -> usize {
        self.total
    }

    /// Blocks that the prefix cache holds.
    pub fn cached_blocks(&self) -> usize {
        self.ledger.cached_blocks()
    }

    /// Blocks that sequences hold, each counted once.
    pub fn held_blocks(&self) -> usize {
        self.ledger.held_blocks()
    }

    /// Blocks that have to be freed, by the watermarks, before `wanted` more are taken.
    pub fn excess_blocks(&self, wanted: usize) -> usize {
        let used = self.total - self.free_blocks();
        let marks = self.pages.config().watermarks;
        marks.excess(used, wanted, self.total)
    }

    /// A block of one's own.
    pub fn take(
        &mut self,
        tenant: Option<&Arc<Tenant>>,
    ) -> std::result::Result<BlockRef, Shortage> {
        let pages = self.ledger.pages_of_next().ok_or(Shortage::Blocks)?;
        let charge = match tenant {
            Some(tenant) => Some(tenant.charge(self.block_bytes).map_err(Shortage::Quota)?),
            None => None,
        };
        if self.leases.len() < pages.end {
            self.leases.resize_with(pages.end, || None);
        }
        for page in pages {
            if self.leases[page].is_none() {
                let lease = self.pages.lease(Kind::Kv, None, 1);
                self.leases[page] = Some(lease.map_err(|_| Shortage::Pages)?);
            }
        }
        self.ledger.take(charge).ok_or(Shortage::Blocks)
    }

    /// Gives the pages back whose blocks were all freed.
    pub fn trim(&mut self, blocks: &mut dyn BlockStore) {
        let page_bytes = self.pages.config().page_bytes;
        for page in self.ledger.take_emptied() {
            if self.leases[page].take().is_some() {
                blocks.release(page * page_bytes..(page + 1) * page_bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruvllm_kernels::{KvFormat, KvLayout};

    use super::*;
    use crate::kv::{BlockTable, CachedBlock, HostBlocks};
    use crate::memory::{PAGE_BYTES, Watermarks};

    const LAYOUT: KvLayout = KvLayout::new(2, (1, 4), KvFormat::I16);

    fn pool(blocks: usize, page_bytes: usize) -> KvPool {
        let config = PagePoolConfig {
            budget_bytes: LAYOUT.block_bytes() * blocks,
            page_bytes,
            watermarks: Watermarks::default(),
        };
        KvPool::new(KvGroups::whole(2, (1, 4), LAYOUT.format), config).unwrap()
    }

    #[test]
    fn blocks_come_back_when_the_last_holder_lets_go() {
        let mut pool = pool(2, PAGE_BYTES);
        let (first, second) = (pool.take(None).unwrap(), pool.take(None).unwrap());
        assert_ne!(first.id(), second.id());
        assert!(matches!(pool.take(None), Err(Shortage::Blocks)));
        let shared = Arc::clone(&first);
        drop(first);
        assert_eq!(pool.free_blocks(), 0);
        drop(shared);
        assert_eq!(pool.free_blocks(), 1);
    }

    #[test]
    fn pages_are_leased_with_their_first_block_and_returned_with_their_last() {
        // Three pages of two and a half blocks: block 2 stands on two of them.
        let mut pool = pool(7, LAYOUT.block_bytes() * 5 / 2);
        let mut bytes = HostBlocks::of(&pool).unwrap();
        let kv_pages = |pool: &KvPool| pool.pages().stats().used_pages[0];
        let mut blocks: Vec<_> = (0..3).map(|_| pool.take(None).unwrap()).collect();
        assert_eq!(kv_pages(&pool), 2);
        drop(blocks.pop());
        pool.trim(&mut bytes);
        assert_eq!(kv_pages(&pool), 1);
        drop(blocks);
        pool.trim(&mut bytes);
        assert_eq!(kv_pages(&pool), 0);
    }

    #[test]
    fn the_lowest_free_block_is_taken_so_that_the_pages_above_become_empty() {
        let mut pool = pool(6, LAYOUT.block_bytes() * 2);
        let mut blocks: Vec<_> = (0..4).map(|_| pool.take(None).unwrap()).collect();
        drop(blocks.remove(2));
        drop(blocks.remove(0));
        let ids = [(); 3].map(|()| {
            blocks.push(pool.take(None).unwrap());
            blocks[blocks.len() - 1].id().0
        });
        // Those that were freed, and only then one that was never taken.
        assert_eq!(ids, [0, 2, 4]);
    }

    #[test]
    fn a_page_that_is_used_again_before_it_is_returned_stays() {
        let mut pool = pool(4, LAYOUT.block_bytes() * 2);
        let mut bytes = HostBlocks::of(&pool).unwrap();
        drop(pool.take(None).unwrap());
        let again = pool.take(None).unwrap();
        bytes.bytes_mut(again.id()).fill(7);
        pool.trim(&mut bytes);
        assert_eq!(pool.pages().stats().used_pages[0], 1);
        assert!(bytes.bytes(again.id()).iter().all(|byte| *byte == 7));
        drop(again);
        pool.trim(&mut bytes);
        assert_eq!(pool.pages().stats().used_pages[0], 0);
    }

    #[test]
    fn a_block_counts_for_the_cache_once() {
        let mut pool = pool(3, PAGE_BYTES);
        let block = pool.take(None).unwrap();
        let first = CachedBlock::new(&block);
        assert!(!first.is_idle());
        let second = first.clone();
        assert_eq!(pool.cached_blocks(), 1);
        drop(block);
        assert!(second.is_idle());
        drop((first, second));
        assert_eq!((pool.cached_blocks(), pool.free_blocks()), (0, 3));
    }

    #[test]
    fn a_block_counts_for_sequences_once_however_many_tables_it_stands_in() {
        let mut pool = pool(3, PAGE_BYTES);
        let blocks: Vec<_> = (0..3).map(|_| pool.take(None).unwrap()).collect();
        let table = |blocks: &[BlockRef]| {
            BlockTable::of(pool.groups(), blocks.iter().cloned().map(Some).collect())
        };
        let mut first = table(&blocks);
        let second = table(&blocks[..2]);
        assert_eq!(
            (pool.held_blocks(), &first.ids()[0][..]),
            (3, &[0, 1, 2][..])
        );
        // A step that is under way keeps the table that it was given.
        let shared = Arc::clone(first.ids());
        first.truncate(2);
        assert_eq!(
            (shared[0].len(), first.rows(), first.ids()[0].len()),
            (3, 2, 2)
        );
        assert_eq!(pool.held_blocks(), 2);
        first.clear();
        assert!(first.is_empty() && first.ids()[0].is_empty());
        assert_eq!(pool.held_blocks(), 2);
        drop(second);
        assert_eq!((pool.held_blocks(), pool.free_blocks()), (0, 0));
    }

    #[test]
    fn a_tenant_s_quota_is_a_bound_of_its_blocks() {
        let mut pool = pool(4, PAGE_BYTES);
        let tenants = pool.pages().tenants();
        tenants
            .set_quota("a", Some(LAYOUT.block_bytes() * 2 + 1))
            .unwrap();
        let tenant = tenants.tenant("a/b").unwrap();
        let held: Vec<_> = (0..2).map(|_| pool.take(Some(&tenant)).unwrap()).collect();
        assert!(
            matches!(pool.take(Some(&tenant)), Err(Shortage::Quota(full)) if full.name() == "a")
        );
        assert_eq!(pool.free_blocks(), 2);
        drop(held);
        assert!(pool.take(Some(&tenant)).is_ok());
    }

    #[test]
    fn a_budget_below_one_block_is_refused() {
        let config = PagePoolConfig {
            budget_bytes: LAYOUT.block_bytes() - 1,
            page_bytes: PAGE_BYTES,
            watermarks: Watermarks::default(),
        };
        assert!(matches!(
            KvPool::new(KvGroups::whole(2, (1, 4), LAYOUT.format), config),
            Err(Error::Config(_))
        ));
    }
}
