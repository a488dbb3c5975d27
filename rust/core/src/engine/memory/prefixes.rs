//! What a sequence finds of itself in the prefix cache, and what it leaves there.

use crate::kv::{BLOCK_TOKENS, BlockStore, BlockTable, rows_for};
use crate::prefix::{Known, MissReason};
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
    pub(in crate::engine) fn find(&mut self, sequence: &mut Sequence, blocks: &mut dyn BlockStore) {
        let limit = sequence.work.reusable_tokens(sequence.tokens.len());
        let tokens = &sequence.tokens[..=limit];
        let found = self.prefix.lookup(&sequence.namespace, tokens, limit);
        sequence.blocks = BlockTable::of(self.kv.groups(), found.blocks);
        sequence.computed = found.length;
        sequence.pin = found.pin;
        // What is found again after it was set aside, it may have computed itself.
        if !sequence.is_looked_up {
            sequence.is_looked_up = true;
            sequence.cached = found.length;
            sequence.cache_miss = found.miss;
        }
        self.own_last_row(sequence, blocks);
        sequence.blocks.let_passed_go(sequence.computed);
    }

    /// Copies the last row of blocks where it is partly filled: what comes next is written into it. Without room
    /// for a copy its tokens are computed anew.
    fn own_last_row(&mut self, sequence: &mut Sequence, blocks: &mut dyn BlockStore) {
        if sequence.computed.is_multiple_of(BLOCK_TOKENS) {
            return;
        }
        let before = sequence.computed / BLOCK_TOKENS;
        let shared: Vec<_> = sequence.blocks.blocks()[before * self.kv.groups().count()..].to_vec();
        sequence.blocks.truncate(before);
        for shared in shared {
            let Some((shared, own)) = shared.zip(self.take_block(sequence.tenant.as_ref())) else {
                break;
            };
            blocks.copy(shared.id(), own.id());
            sequence.blocks.push(own);
        }
        if sequence.blocks.rows() == before {
            sequence.computed = sequence.blocks.usable_length(before * BLOCK_TOKENS);
            sequence.blocks.truncate(rows_for(sequence.computed));
            sequence.cached = sequence.cached.min(sequence.computed);
        }
    }

    /// Makes known what a sequence has computed.
    pub(in crate::engine) fn keep(&mut self, sequence: &mut Sequence) {
        self.keep_first(sequence, sequence.computed, true);
    }

    /// Lets blocks go that the windows of a sequence have passed. Those of its prompt are known before, since others
    /// may begin like it and go on elsewhere: they stay as long as there is room.
    pub(in crate::engine) fn let_passed_go(&mut self, sequence: &mut Sequence) {
        if !sequence.blocks.has_passed(sequence.computed) {
            return;
        }
        if sequence.computed < sequence.prompt_tokens {
            self.keep_on_the_way(sequence);
        }
        sequence.blocks.let_passed_go(sequence.computed);
    }

    /// Makes known what a sequence has computed of a text that goes on.
    pub(in crate::engine) fn keep_on_the_way(&mut self, sequence: &mut Sequence) {
        if self.kv.groups().has_windows() {
            // In whole rows: two nodes that share one both keep it.
            let whole = sequence.computed / BLOCK_TOKENS * BLOCK_TOKENS;
            self.keep_first(sequence, whole, false);
        } else {
            self.keep(sequence);
        }
    }

    /// Makes the first `tokens` of a sequence known, which may end there or go on.
    fn keep_first(&mut self, sequence: &mut Sequence, tokens: usize, is_end: bool) {
        let computed = sequence.work.kept_tokens(tokens);
        let is_long = sequence.cache_min_tokens.is_some_and(|min| computed >= min);
        if !is_long || sequence.kept >= computed {
            return;
        }
        let known = Known {
            tokens: &sequence.tokens[..computed],
            blocks: sequence.blocks.places_in(rows_for(computed)),
            is_end,
        };
        let pin = self.prefix.insert(&sequence.namespace, known, &self.kv);
        if pin.is_some() {
            // Who goes on is to be asked again at the end.
            sequence.kept = if is_end { computed } else { sequence.kept };
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
