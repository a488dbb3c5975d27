//! Guesses in a step: those that are added to a batch of answers, and what becomes of them.

use std::sync::Arc;

use crate::batch::{Batch, BatchSequence, Wanted};
use crate::error::Result;
use crate::kv::{BLOCK_TOKENS, rows_for};
use crate::profile::{Operation, timed};
use crate::sequence::{Sequence, Work};
use crate::speculation::{Draft, DraftCounts, Speculation};

use super::Engine;
use super::draft_model::DraftModel;
use super::drafts::Drafts;

/// Rows that an answer has anyway in a step, at most, beside which something is guessed: more are a prompt's.
const MOST_OWN_ROWS: usize = 16;

impl Engine {
    /// Guesses tokens from here on; answers that are under way go on without.
    pub fn speculate(&mut self, settings: Speculation) {
        self.drafts = Some(Drafts::new(settings));
    }

    /// Guesses that were computed, and those that came true.
    pub fn draft_counts(&self) -> DraftCounts {
        let drafts = self.drafts.as_ref();
        drafts.map_or_else(DraftCounts::default, |drafts| drafts.counts)
    }

    /// Rows that the draft model has computed.
    pub fn draft_rows(&self) -> u64 {
        self.draft_model().map_or(0, DraftModel::rows)
    }

    /// Blocks that the draft model's texts hold.
    pub fn draft_blocks(&self) -> usize {
        self.draft_model().map_or(0, DraftModel::held_blocks)
    }

    fn draft_model(&self) -> Option<&DraftModel> {
        self.drafts.as_ref()?.model.as_ref()
    }

    /// What steps were seen to cost: rows, and how many times as long as a single one they take.
    pub fn step_costs(&self) -> Vec<(usize, f64)> {
        let drafts = self.drafts.as_ref();
        drafts.map_or_else(Vec::new, |drafts| drafts.costs.table())
    }

    /// Whether a batch has answers alone, and somebody guesses: then guesses are added, and it is timed.
    pub(super) fn are_answers(&self, batch: &Batch) -> bool {
        let is_answer = |rows: &BatchSequence| {
            matches!(rows.wanted, Wanted::Last)
                && rows.rows <= MOST_OWN_ROWS
                && self.generates(rows)
        };
        self.drafts.is_some() && batch.sequences.iter().all(is_answer)
    }

    /// What the clock of those who guess says.
    pub(super) fn now(&self) -> Option<u64> {
        let drafts = self.drafts.as_ref()?;
        Some(drafts.settings.clock.nanoseconds())
    }

    fn generates(&self, rows: &BatchSequence) -> bool {
        let sequence = self.sequences.get(rows.owner);
        sequence.is_some_and(|sequence| matches!(sequence.work, Work::Generate(_)))
    }

    /// Takes in how long the forward pass and the choices of such a batch took.
    pub(super) fn end_answers(&mut self, began: u64, rows: usize) {
        if let Some(drafts) = &mut self.drafts {
            let now = drafts.settings.clock.nanoseconds();
            drafts.costs.note(rows, now.saturating_sub(began));
        }
    }

    /// The same batch of answers with as many guesses of each as pay.
    pub(super) fn with_drafts(&mut self, batch: Batch) -> Result<Batch> {
        let profile = self.watch.profile.clone();
        timed(profile.as_deref(), Operation::Draft, || {
            self.guess_by_model(&batch)?;
            let drafts = self.drafts.as_ref();
            let lengths =
                drafts.map_or_else(Vec::new, |drafts| drafts.lengths(&self.sequences, &batch));
            if lengths.iter().all(|length| *length == 0) {
                return Ok(batch);
            }
            let mut drafted = Batch::default();
            for (rows, length) in batch.sequences.iter().zip(lengths) {
                let mut tokens = batch.tokens[rows.range()].to_vec();
                let mut rows = rows.clone();
                self.add_draft(length, &mut tokens, &mut rows);
                drafted.push(&tokens, rows);
            }
            Ok(drafted)
        })
    }

    /// Adds up to `length` guesses to the rows of an answer, as far as they can be and there is room for them.
    fn add_draft(&mut self, length: usize, tokens: &mut Vec<u32>, rows: &mut BatchSequence) {
        let spec = self.runner.spec();
        let Some(sequence) = self.sequences.get_mut(rows.owner) else {
            return;
        };
        let known = sequence.tokens.len();
        let Work::Generate(generation) = &mut sequence.work else {
            return;
        };
        let Some(drafting) = &generation.drafting else {
            return;
        };
        let mut guesses = drafting.guesses(known, length).to_vec();
        guesses.truncate(generation.room_for_guesses());
        // A tokenizer may have tokens that the model has no row for.
        let is_token = |token: &u32| (*token as usize) < spec.vocab_size;
        guesses.truncate(
            guesses
                .iter()
                .copied()
                .take_while(|token| is_token(token))
                .count(),
        );
        // Where frequencies change, what was computed before is computed anew, or each length has its own.
        while !guesses.is_empty() && !spec.is_rope_steady(known, known + guesses.len()) {
            guesses.pop();
        }
        let rows_of_blocks = rows_for(known + guesses.len());
        self.memory.give_spare_blocks(sequence, rows_of_blocks);
        guesses.truncate(sequence.blocks.rows() * BLOCK_TOKENS - known);
        if guesses.is_empty() {
            return;
        }
        rows.block_tables = Arc::clone(sequence.blocks.ids());
        rows.wanted = Wanted::From(known - 1);
        tokens.extend_from_slice(&guesses);
        if let Work::Generate(generation) = &mut sequence.work {
            generation.draft = Draft::of(guesses);
        }
    }

    /// What becomes of a step's guesses, once so many tokens more were `drawn` and so many of them are a part of the
    /// answer: those that came true are computed, and of the others nothing is left.
    pub(super) fn end_draft(
        &mut self,
        rows: &BatchSequence,
        draft: &Draft,
        drawn: usize,
        said: usize,
    ) {
        let Some(drafts) = &mut self.drafts else {
            return;
        };
        let Some(sequence) = self.sequences.get_mut(rows.owner) else {
            return;
        };
        if !draft.tokens().is_empty() {
            // The last token of an answer is computed by the next step, or never.
            sequence.computed += draft.agreed().min(drawn.saturating_sub(1));
            sequence.blocks.truncate(rows_for(sequence.computed));
            let counts = DraftCounts {
                drafted: draft.tokens().len(),
                accepted: draft.agreed().min(said),
            };
            drafts.counts.add(counts);
            if let Work::Generate(generation) = &mut sequence.work
                && let Some(drafting) = &mut generation.drafting
            {
                drafting.counts.add(counts);
            }
        }
        let profile = self.watch.profile.as_deref();
        let room = &mut drafts.room;
        timed(profile, Operation::Draft, || {
            follow(sequence, room);
        });
    }
}

/// Shows those who guess what an answer has become.
fn follow(sequence: &mut Sequence, room: &mut usize) {
    if let Work::Generate(generation) = &mut sequence.work
        && let Some(drafting) = &mut generation.drafting
    {
        drafting.follow(&sequence.tokens, sequence.prompt_tokens, room);
    }
}
