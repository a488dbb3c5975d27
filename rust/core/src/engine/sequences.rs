//! All sequences of an engine, by age: who computes for whom, and what came of a step for each.

use std::collections::BTreeMap;

use crate::ids::SequenceId;
use crate::kv::{BLOCK_TOKENS, BlockStore};
use crate::model::Output;
use crate::prefix::radix_tree::common_length;
use crate::sequence::Sequence;

use super::memory::Memory;

/// Tokens in common for which it is worth to wait for another sequence's prompt.
const WORTH_WAITING_TOKENS: usize = BLOCK_TOKENS;

/// The memory that sequences share, and the bytes of its blocks.
pub(super) type Shared<'a> = (&'a mut Memory, &'a mut dyn BlockStore);

/// Sequences by their ids.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    by_id: BTreeMap<SequenceId, Sequence>,
    last_id: u64,
}

impl Sequences {
    /// An id that no other one had.
    pub(super) fn next_id(&mut self) -> SequenceId {
        self.last_id += 1;
        SequenceId(self.last_id)
    }

    pub(super) fn insert(&mut self, sequence: Sequence) {
        self.by_id.insert(sequence.id, sequence);
    }

    pub(super) fn remove(&mut self, id: SequenceId) -> Option<Sequence> {
        self.by_id.remove(&id)
    }

    pub(super) fn get(&self, id: SequenceId) -> Option<&Sequence> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sequence> {
        self.by_id.values()
    }

    /// Those whose callers do not want more.
    pub(super) fn cancelled(&self) -> Vec<SequenceId> {
        let cancelled = self
            .iter()
            .filter(|sequence| sequence.cancel.is_cancelled());
        cancelled.map(|sequence| sequence.id).collect()
    }

    /// Each owner beside what came of its rows; no owner may be named twice.
    pub(super) fn beside<'a>(
        &'a mut self,
        outputs: Vec<Output<'a>>,
    ) -> Vec<(&'a mut Sequence, Output<'a>)> {
        let mut outputs: BTreeMap<_, _> = outputs
            .into_iter()
            .map(|output| (output.owner, output))
            .collect();
        self.by_id
            .iter_mut()
            .filter_map(|(id, sequence)| Some((sequence, outputs.remove(id)?)))
            .collect()
    }

    /// Looks for what is computed already of a sequence that has no blocks, or is about to be.
    pub(super) fn find_prefix(&mut self, id: SequenceId, room: Shared<'_>) {
        self.find_or_follow(id, room, |_, _| true);
    }

    /// The same, where it may be followed who has something in common of that length.
    fn find_or_follow(
        &mut self,
        id: SequenceId,
        (memory, blocks): Shared<'_>,
        may_follow: impl Fn(&Sequence, usize) -> bool,
    ) {
        let Some(sequence) = self.by_id.get_mut(&id) else {
            return;
        };
        let Some(known) = memory.known_tokens(sequence) else {
            return;
        };
        let leader = self.leader_of(id, known, may_follow);
        if let Some(sequence) = self.by_id.get_mut(&id) {
            sequence.follows = leader;
            if leader.is_none() {
                memory.find(sequence, blocks);
            }
        }
    }

    /// A sequence that is about to compute what this one has in common with it, beyond what is known.
    /// Keys and values are the same in one namespace alone, whatever the tokens.
    fn leader_of(
        &self,
        id: SequenceId,
        known: usize,
        may_follow: impl Fn(&Sequence, usize) -> bool,
    ) -> Option<(SequenceId, usize)> {
        let sequence = self.by_id.get(&id)?;
        let leaders = self.by_id.range(..id).map(|(_, leader)| leader);
        let leaders = leaders.filter(|leader| {
            leader.cache_min_tokens.is_some()
                && leader.paused.is_none()
                && leader.follows.is_none()
                && leader.computed < leader.prompt_tokens
                && leader.namespace == sequence.namespace
        });
        let common = leaders.filter_map(|leader| {
            let both = common_length(&leader.tokens, &sequence.tokens);
            let kept = leader.work.kept_tokens(both);
            let reusable = sequence.work.reusable_tokens(sequence.tokens.len());
            let common = kept.min(reusable);
            may_follow(leader, common).then_some((leader.id, common))
        });
        common
            .max_by_key(|(_, common)| *common)
            .filter(|(_, common)| *common >= known + WORTH_WAITING_TOKENS)
    }

    /// Whether a sequence still has to wait for the one it follows; looks the prefix up when not.
    pub(super) fn is_waiting(
        &mut self,
        id: SequenceId,
        (memory, blocks): Shared<'_>,
        is_planned: impl Fn(SequenceId) -> bool,
    ) -> bool {
        let follows = self.by_id.get(&id).and_then(|sequence| sequence.follows);
        let Some((leader, common)) = follows else {
            return false;
        };
        if let Some(leader) = self.by_id.get_mut(&leader) {
            if is_planned(leader.id) && leader.computed < common {
                return true;
            }
            // Set aside or not part of the plan: nobody computes it in this one's place.
            memory.keep_on_the_way(leader);
        }
        if let Some(sequence) = self.by_id.get_mut(&id) {
            sequence.follows = None;
        }
        // Somebody else may have computed it meanwhile, and go on with a prompt that is not known yet.
        let other = self.leader_of(id, 0, |leader, common| leader.computed >= common);
        if let Some(other) = other.and_then(|(other, _)| self.by_id.get_mut(&other)) {
            memory.keep_on_the_way(other);
        }
        // Whoever has computed what both have in common has nothing more to give, even where not all of that is found.
        self.find_or_follow(id, (memory, blocks), |leader, common| {
            is_planned(leader.id) && leader.computed < common
        });
        self.by_id
            .get(&id)
            .is_some_and(|sequence| sequence.follows.is_some())
    }
}
