//! What a sequence finds of itself in the prefix cache, and what it leaves there.

use crate::kv::BLOCK_TOKENS;
use crate::prefix::MissReason;
use crate::sequence::Sequence;

use super::Memory;

impl Memory {
    /// How much of a sequence without blocks is known; `None` where it does not look for any.
    pub(in crate::engine) fn known_tokens(&mut self, sequence: &mut Sequence) -> Option<usize> {
        let min_tokens = sequence.cache_min_tokens?;
        if sequence.prompt_tokens < min_tokens {
            if !sequence.is_looked_up {
                sequence.is_looked_up = true;
                sequence.cache_miss = Some(MissReason::TooShort);
                self.prefix.count_too_short(sequence.tokens.len() - 1);
            }
            return None;
        }
        Some(self.prefix.peek(&sequence.namespace, &sequence.tokens))
    }

    /// Gives a sequence without blocks those that hold its beginning.
    pub(in crate::engine) fn find(&mut self, sequence: &mut Sequence) {
        let limit = sequence.work.reusable_tokens(sequence.tokens.len());
        let tokens = &sequence.tokens[..=limit];
        let found = self.prefix.lookup(&sequence.namespace, tokens, limit);
        sequence.blocks = found.blocks.into_iter().collect();
        sequence.computed = found.length;
        sequence.pin = found.pin;
        // What is found again after it was set aside, it may have computed itself.
        if !sequence.is_looked_up {
            sequence.is_looked_up = true;
            sequence.cached = found.length;
            sequence.cache_miss = found.miss;
        }
        self.own_last_block(sequence);
    }

    /// Copies the last, partly filled block: what comes next is written into it. Without room for a copy
    /// its tokens are computed anew.
    fn own_last_block(&mut self, sequence: &mut Sequence) {
        if sequence.computed.is_multiple_of(BLOCK_TOKENS) {
            return;
        }
        let shared = sequence.blocks.pop();
        let own = self.take_block(sequence.tenant.as_ref());
        if let (Some(shared), Some(own)) = (shared, own) {
            self.kv.copy(&shared, &own);
            sequence.blocks.push(own);
        } else {
            sequence.computed = sequence.blocks.len() * BLOCK_TOKENS;
            sequence.cached = sequence.cached.min(sequence.computed);
        }
    }

    /// Makes known what a sequence has computed.
    pub(in crate::engine) fn keep(&mut self, sequence: &mut Sequence) {
        let computed = sequence.work.kept_tokens(sequence.computed);
        let is_long = sequence.cache_min_tokens.is_some_and(|min| computed >= min);
        if !is_long || sequence.kept >= computed {
            return;
        }
        let tokens = &sequence.tokens[..computed];
        let blocks = sequence.blocks.blocks();
        let pin = self
            .prefix
            .insert(&sequence.namespace, tokens, blocks, &self.kv);
        if pin.is_some() {
            sequence.kept = computed;
            self.unpin(sequence);
            sequence.pin = pin;
        }
    }

    /// Gives a sequence's blocks back; what it has computed stays in the cache as long as there is room.
    pub(in crate::engine) fn release(&mut self, sequence: &mut Sequence) {
        self.keep(sequence);
        self.unpin(sequence);
        sequence.blocks.clear();
        sequence.computed = 0;
        sequence.kept = 0;
    }

    pub(super) fn unpin(&mut self, sequence: &mut Sequence) {
        if let Some(pin) = sequence.pin.take() {
            self.prefix.unpin(pin);
        }
    }
}
