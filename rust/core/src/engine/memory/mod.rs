//! The engine's memory: its pool of blocks, the prefixes that are kept in it, and what was copied out of it.
//!
//! It knows one sequence at a time, never the others.

mod prefixes;
mod swap;

use std::io::{Read, Seek};
use std::sync::Arc;

use crate::error::Result;
use crate::kv::{BLOCK_TOKENS, BlockRef, BlockStore, KvPool, Shortage};
use crate::memory::Tenant;
use crate::prefix::file::{Loaded, Snapshot};
use crate::prefix::{PrefixCache, PrefixLimits, PrefixStats};
use crate::sequence::Sequence;

/// Blocks, prefixes, and bytes set aside.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) kv: KvPool,
    prefix: PrefixCache,
    /// Bytes kept of sequences that are set aside.
    swapped_bytes: usize,
}

impl Memory {
    pub(super) fn new(kv: KvPool, prefixes: PrefixLimits) -> Self {
        Self {
            prefix: PrefixCache::new(prefixes, Arc::clone(kv.groups())),
            kv,
            swapped_bytes: 0,
        }
    }

    pub(super) fn swapped_bytes(&self) -> usize {
        self.swapped_bytes
    }

    pub(super) fn prefix_stats(&self) -> PrefixStats {
        self.prefix.stats(&self.kv)
    }

    /// A block, evicting from the prefix cache by the watermarks, or whatever it takes.
    pub(super) fn take_block(&mut self, tenant: Option<&Arc<Tenant>>) -> Option<BlockRef> {
        let excess = self.kv.excess_blocks(1);
        if excess > 0 && self.kv.cached_blocks() > 0 {
            self.evict_blocks(excess);
        }
        loop {
            let is_evicted = match self.kv.take(tenant) {
                Ok(block) => return Some(block),
                Err(Shortage::Blocks | Shortage::Pages) => {
                    self.prefix.evict_one() || self.prefix.evict_end(None)
                }
                Err(Shortage::Quota(full)) => {
                    let tenant = full.name();
                    self.prefix.evict_one_of(tenant) || self.prefix.evict_end(Some(tenant))
                }
            };
            if !is_evicted {
                return None;
            }
        }
    }

    /// Gives a sequence so many rows of blocks; whether there were enough. Those that there were it keeps.
    pub(super) fn give_blocks(&mut self, sequence: &mut Sequence, rows: usize) -> bool {
        while sequence.blocks.rows() < rows {
            match self.block_for(sequence) {
                Some(block) => sequence.blocks.push(block),
                None => return false,
            }
        }
        true
    }

    /// A block for a sequence.
    ///
    /// Its pin may keep blocks in the cache that it does not stand on: the original of the block that it
    /// copied, or the blocks of another one that computed the same. Before it goes without, it lets those go.
    fn block_for(&mut self, sequence: &mut Sequence) -> Option<BlockRef> {
        loop {
            match self.take_block(sequence.tenant.as_ref()) {
                None if sequence.pin.is_some() => self.unpin(sequence),
                taken => return taken,
            }
        }
    }

    /// How many tokens a sequence can compute with the blocks that it has, where that gives some back: windows pass
    /// what was computed.
    pub(super) fn reach(&self, sequence: &Sequence) -> usize {
        if !self.kv.groups().has_windows() {
            return 0;
        }
        let tokens = sequence.blocks.rows() * BLOCK_TOKENS;
        tokens.saturating_sub(sequence.computed)
    }

    /// Gives a sequence up to so many rows, as far as blocks are free: nobody's prefix goes for them.
    pub(super) fn give_spare_blocks(&mut self, sequence: &mut Sequence, rows: usize) {
        while sequence.blocks.rows() < rows
            && let Ok(block) = self.kv.take(sequence.tenant.as_ref())
        {
            sequence.blocks.push(block);
        }
        // A part of a row is of no use.
        sequence.blocks.truncate(sequence.blocks.rows());
    }

    /// Evicts until so many blocks more are free, as far as there is something to evict: always of the
    /// tenant that has the most cached, whoever needs them.
    fn evict_blocks(&mut self, blocks: usize) {
        let enough = self.kv.free_blocks() + blocks;
        while self.kv.free_blocks() < enough && self.prefix.evict_one() {}
    }

    /// Evicts for others who wait for pages of the budget.
    pub(super) fn make_room_for_others(&mut self, blocks: &mut dyn BlockStore) {
        let awaited = self.kv.pages().awaited_pages();
        if awaited > 0 {
            self.give_back(awaited * self.kv.pages().config().page_bytes, blocks);
        }
    }

    /// Evicts so many bytes, as far as there are prefixes that nobody uses.
    pub(super) fn give_back(&mut self, bytes: usize, blocks: &mut dyn BlockStore) {
        self.evict_blocks(bytes.div_ceil(self.kv.block_bytes()));
        self.kv.trim(blocks);
    }

    /// Forgets every prefix that nobody uses, and gives its memory back.
    pub(super) fn clear_prefixes(&mut self, blocks: &mut dyn BlockStore) {
        self.prefix.clear();
        self.kv.trim(blocks);
    }

    pub(super) fn snapshot_prefixes(&self, model: &str) -> Snapshot {
        self.prefix.snapshot(&self.kv, model)
    }

    /// Reads prefixes of up to `max_tokens`, as far as there is room.
    pub(super) fn load_prefixes<F: Read + Seek>(
        &mut self,
        model: &str,
        max_tokens: usize,
        file: &mut F,
        blocks: &mut dyn BlockStore,
    ) -> Result<Loaded> {
        let kv = &mut self.kv;
        let outcome = self
            .prefix
            .load((kv, &mut *blocks), model, max_tokens, file);
        self.kv.trim(blocks);
        outcome
    }

    /// What must hold between steps, given those who have blocks; a text that says what does not.
    pub(super) fn check_invariants<'a>(
        &self,
        sequences: impl Iterator<Item = &'a Sequence>,
    ) -> std::result::Result<(), String> {
        self.prefix.check_invariants(&self.kv)?;
        let (mut ids, mut swapped_bytes) = (Vec::new(), 0);
        for sequence in sequences {
            let table = &sequence.blocks;
            table.check_invariants()?;
            if table.has_passed(sequence.computed) {
                return Err(format!(
                    "sequence {} holds what it has passed",
                    sequence.id.0
                ));
            }
            ids.extend(table.blocks().iter().flatten().map(|block| block.id().0));
            let paused = sequence.paused.as_ref();
            swapped_bytes += paused.map_or(0, |paused| paused.bytes.len());
        }
        ids.sort_unstable();
        ids.dedup();
        let counted = (self.kv.held_blocks(), self.swapped_bytes);
        if counted != (ids.len(), swapped_bytes) {
            return Err(format!(
                "blocks of sequences and bytes set aside are {:?}, and were counted as {counted:?}",
                (ids.len(), swapped_bytes)
            ));
        }
        Ok(())
    }
}
