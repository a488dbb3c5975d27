//! A sequence's blocks: found in the prefix cache, taken from the pool, set aside and given back.

use std::io::{Read, Seek};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::SequenceId;
use crate::kv::{BLOCK_TOKENS, BlockRef, Shortage, blocks_for};
use crate::memory::Tenant;
use crate::prefix::file::{Loaded, Snapshot};
use crate::prefix::radix_tree::common_length;
use crate::prefix::{MissReason, Namespace, PrefixStats};
use crate::sequence::{Paused, Sequence};

use super::Engine;

/// Tokens in common for which it is worth to wait for another sequence's prompt.
const WORTH_WAITING_TOKENS: usize = BLOCK_TOKENS;

impl Engine {
    /// Looks for what is computed already of a sequence that has no blocks.
    pub(super) fn find_prefix(&mut self, sequence: &mut Sequence) -> Result<()> {
        sequence.regimes = self.regimes_of(sequence);
        let Some(min_tokens) = sequence.cache_min_tokens else {
            return Ok(());
        };
        // The last token is always computed: there are no logits to choose from otherwise.
        let limit = sequence.tokens.len() - 1;
        if sequence.prompt_tokens < min_tokens {
            if !sequence.is_looked_up {
                sequence.is_looked_up = true;
                sequence.cache_miss = Some(MissReason::TooShort);
                self.prefix.count_too_short(limit);
            }
            return Ok(());
        }
        let namespace = namespace_of(sequence);
        let known = self.prefix.peek(&namespace, &sequence.tokens);
        sequence.follows = self.leader_of(sequence, &namespace, known);
        if sequence.follows.is_some() {
            return Ok(());
        }
        let found = self
            .prefix
            .lookup(&namespace, &sequence.tokens[..=limit], limit);
        sequence.blocks = found.blocks;
        sequence.computed = found.length;
        sequence.pin = found.pin;
        // What is found again after it was set aside, it may have computed itself.
        if !sequence.is_looked_up {
            sequence.is_looked_up = true;
            sequence.cached = found.length;
            sequence.cache_miss = found.miss;
        }
        self.own_last_block(sequence)
    }

    /// Copies the last, partly filled block: what comes next is written into it.
    fn own_last_block(&mut self, sequence: &mut Sequence) -> Result<()> {
        if sequence.computed.is_multiple_of(BLOCK_TOKENS) {
            return Ok(());
        }
        let Some(shared) = sequence.blocks.pop() else {
            return Err(Error::KvCache(
                "tokens are cached without blocks".to_owned(),
            ));
        };
        if let Some(own) = self.take_block(sequence.tenant.as_ref()) {
            self.kv.copy(&shared, &own);
            sequence.blocks.push(own);
        } else {
            sequence.computed -= sequence.computed % BLOCK_TOKENS;
            sequence.cached = sequence.cached.min(sequence.computed);
        }
        Ok(())
    }

    /// A sequence that is about to compute what this one has in common with it, beyond what is known.
    /// Keys and values are the same in one namespace alone, whatever the tokens.
    fn leader_of(
        &self,
        sequence: &Sequence,
        namespace: &Namespace,
        known: usize,
    ) -> Option<(SequenceId, usize)> {
        let leaders = self.sequences.values().filter(|leader| {
            leader.id < sequence.id
                && leader.cache_min_tokens.is_some()
                && leader.paused.is_none()
                && leader.follows.is_none()
                && leader.computed < leader.prompt_tokens
                && namespace_of(leader) == *namespace
        });
        let common = leaders.map(|leader| {
            let both = common_length(&leader.tokens, &sequence.tokens);
            (leader.id, both.min(sequence.tokens.len() - 1))
        });
        common
            .max_by_key(|(_, common)| *common)
            .filter(|(_, common)| *common >= known + WORTH_WAITING_TOKENS)
    }

    /// Whether a sequence still has to wait for the one it follows; looks the prefix up when not.
    pub(super) fn is_waiting(
        &mut self,
        sequence: &mut Sequence,
        is_planned: impl Fn(SequenceId) -> bool,
    ) -> Result<bool> {
        let Some((leader, common)) = sequence.follows else {
            return Ok(false);
        };
        let computed = match self.sequences.get(&leader) {
            Some(leader) if is_planned(leader.id) => leader.computed,
            // Gone, set aside or not part of the plan: nobody computes it in this one's place.
            _ => usize::MAX,
        };
        if computed < common {
            return Ok(true);
        }
        if let Some(mut leader) = self.sequences.remove(&leader) {
            self.keep(&mut leader);
            self.sequences.insert(leader.id, leader);
        }
        sequence.follows = None;
        self.find_prefix(sequence)?;
        Ok(sequence.follows.is_some())
    }

    /// Makes known what a sequence has computed.
    pub(super) fn keep(&mut self, sequence: &mut Sequence) {
        let is_long = sequence
            .cache_min_tokens
            .is_some_and(|min| sequence.computed >= min);
        if !is_long || sequence.kept >= sequence.computed {
            return;
        }
        let namespace = namespace_of(sequence);
        let tokens = &sequence.tokens[..sequence.computed];
        let pin = self
            .prefix
            .insert(&namespace, tokens, &sequence.blocks, &self.kv);
        if pin.is_some() {
            sequence.kept = sequence.computed;
            self.unpin(sequence);
            sequence.pin = pin;
        }
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
                Err(Shortage::Blocks | Shortage::Pages) => self.prefix.evict_one(),
                Err(Shortage::Quota(full)) => self.prefix.evict_one_of(full.name()),
            };
            if !is_evicted {
                return None;
            }
        }
    }

    /// Evicts until so many blocks more are free, as far as there is something to evict: always of the
    /// tenant that has the most cached, whoever needs them.
    pub(super) fn evict_blocks(&mut self, blocks: usize) {
        let enough = self.kv.free_blocks() + blocks;
        while self.kv.free_blocks() < enough && self.prefix.evict_one() {}
    }

    /// Gives the pages back that no block stands on. Until then they stay committed: the next request
    /// would only make the system find them anew.
    pub fn trim(&mut self) {
        self.kv.trim();
    }

    /// Evicts for others who wait for pages of the budget.
    pub(super) fn make_room_for_others(&mut self) {
        let awaited = self.kv.pages().awaited_pages();
        if awaited > 0 {
            let bytes = awaited * self.kv.pages().config().page_bytes;
            self.evict_blocks(bytes.div_ceil(self.kv.layout().block_bytes()));
            self.kv.trim();
        }
    }

    /// Blocks that sequences hold, each counted once.
    pub fn held_blocks(&self) -> usize {
        let blocks = self
            .sequences
            .values()
            .flat_map(|sequence| &sequence.blocks);
        let mut ids: Vec<_> = blocks.map(|block| block.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    /// Gives a sequence's blocks back; what it has computed stays in the cache as long as there is room.
    pub(super) fn release(&mut self, sequence: &mut Sequence) {
        self.keep(sequence);
        self.unpin(sequence);
        sequence.blocks.clear();
        sequence.computed = 0;
        sequence.kept = 0;
    }

    fn unpin(&mut self, sequence: &mut Sequence) {
        if let Some(pin) = sequence.pin.take() {
            self.prefix.unpin(pin);
        }
    }

    /// Sets a sequence aside so that others have its blocks; with `swap` their bytes are kept.
    pub fn preempt(&mut self, id: SequenceId, swap: bool) -> Result<()> {
        let Some(mut sequence) = self.sequences.remove(&id) else {
            return Err(Error::NotFound(format!("sequence {} is not in", id.0)));
        };
        if sequence.paused.is_none() {
            let computed = sequence.computed;
            let mut paused = Paused::default();
            if swap && computed > 0 {
                let table = &sequence.blocks[..blocks_for(computed)];
                for block in table {
                    paused.bytes.extend_from_slice(self.kv.bytes(block));
                }
                paused.computed = computed;
                // Its blocks are to be free, not to stay as someone's prefix.
                sequence.kept = computed;
            } else {
                sequence.work.restart();
            }
            sequence.follows = None;
            self.release(&mut sequence);
            self.swapped_bytes += paused.bytes.len();
            sequence.paused = Some(paused);
        }
        self.sequences.insert(id, sequence);
        Ok(())
    }

    /// Takes a sequence up again; whether there was room for what was kept of it.
    pub(super) fn resume(&mut self, sequence: &mut Sequence) -> Result<bool> {
        let Some(paused) = sequence.paused.take() else {
            return Ok(true);
        };
        if paused.computed == 0 {
            self.find_prefix(sequence)?;
            return Ok(true);
        }
        let mut blocks = Vec::new();
        for _ in 0..blocks_for(paused.computed) {
            let Some(block) = self.take_block(sequence.tenant.as_ref()) else {
                sequence.paused = Some(paused);
                return Ok(false);
            };
            blocks.push(block);
        }
        let block_bytes = self.kv.layout().block_bytes();
        for (block, bytes) in blocks.iter().zip(paused.bytes.chunks_exact(block_bytes)) {
            self.kv.bytes_mut(block).copy_from_slice(bytes);
        }
        self.swapped_bytes -= paused.bytes.len();
        sequence.blocks = blocks;
        sequence.computed = paused.computed;
        Ok(true)
    }
}

impl Engine {
    /// The prefix cache's counters.
    pub fn prefix_stats(&self) -> PrefixStats {
        self.prefix.stats(&self.kv)
    }

    /// Forgets every prefix that nobody uses, and gives its memory back.
    pub fn clear_prefixes(&mut self) {
        self.prefix.clear();
        self.kv.trim();
    }

    /// All prefixes as they are now, to be written; `model` names what they belong to.
    pub fn snapshot_prefixes(&self, model: &str) -> Snapshot {
        self.prefix.snapshot(&self.kv, model)
    }

    /// The next bytes, about `limit` of them, of the file that keeps a snapshot; none at its end.
    pub fn next_piece(&self, snapshot: &mut Snapshot, limit: usize) -> Vec<u8> {
        snapshot.next_piece(&self.kv, limit)
    }

    /// Reads prefixes that were written before, as far as there is room.
    pub fn load_prefixes<F: Read + Seek>(&mut self, model: &str, file: &mut F) -> Result<Loaded> {
        let outcome = self
            .prefix
            .load(&mut self.kv, model, self.max_context, file);
        self.kv.trim();
        outcome
    }

    /// What must hold between steps; a text that says what does not.
    pub fn check_invariants(&self) -> std::result::Result<(), String> {
        self.prefix.check_invariants(&self.kv)
    }
}

/// Under which key a sequence's tokens are kept.
fn namespace_of(sequence: &Sequence) -> Namespace {
    let rotary = sequence.regimes.iter().enumerate();
    let rotary = rotary.map(|(index, regime)| u64::from(regime.is_long()) << (index % 64));
    Namespace {
        tenant: sequence.tenant_name.clone(),
        adapter: 0,
        rotary: rotary.sum(),
    }
}
