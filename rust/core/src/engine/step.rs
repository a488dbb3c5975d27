//! One step: build a batch from the plan, run it, and act on its rows.

use std::sync::Arc;

use crate::batch::{Batch, BatchSequence};
use crate::error::{Error, Result};
use crate::events::{Event, FinishReason};
use crate::ids::SequenceId;
use crate::kv::rows_for;
use crate::profile::{Operation, timed};
use crate::sequence::{Sequence, Work};
use crate::speculation::MOST_TAKEN;

use super::{Engine, Pause, Plan, PlanRow};

/// What became of a sequence that a plan names.
enum Added {
    Rows,
    /// Another one computes what it needs.
    Waits,
    /// There are too few blocks.
    Short,
}

impl Engine {
    /// Runs one step; `Some` when someone has to decide.
    pub(super) fn step(&mut self, plan: &Plan) -> Result<Option<Pause>> {
        let Some(profile) = self.watch.profile.clone() else {
            return self.run_step(plan);
        };
        let before = self.watch.rows;
        profile.begin_step();
        let outcome = self.run_step(plan);
        profile.end_step((self.watch.rows - before) as usize);
        outcome
    }

    fn run_step(&mut self, plan: &Plan) -> Result<Option<Pause>> {
        let (mut batch, short) = self.build_batch(plan)?;
        if batch.is_empty() {
            return Ok(Some(if short { Pause::Blocks } else { Pause::Horizon }));
        }
        if let Some(drafts) = &mut self.drafts {
            drafts.room = MOST_TAKEN;
        }
        let began = if self.are_answers(&batch) {
            batch = self.with_drafts(batch)?;
            self.now()
        } else {
            None
        };
        let rows = batch.tokens.len();
        self.compute(&mut batch)?;
        if let Some(began) = began
            && rows == batch.tokens.len()
        {
            self.end_answers(began, rows);
        }
        // Those who are left: whoever cancelled meanwhile is out of the batch, and ends before the next step.
        let outcomes = batch.sequences.iter();
        let outcomes: Vec<_> = outcomes.map(|rows| self.outcome_of(rows)).collect();
        let mut finished = false;
        for (rows, outcome) in batch.sequences.iter().zip(outcomes) {
            match outcome {
                Ok(None) => continue,
                Ok(Some(reason)) => self.finish(rows.owner, reason),
                Err(error) => self.fail(rows.owner, error),
            }
            finished = true;
        }
        Ok(match (finished, short && !batch.is_empty()) {
            (true, _) => Some(Pause::Finished),
            (false, true) => Some(Pause::Blocks),
            (false, false) => None,
        })
    }

    /// Runs a batch; each sequence takes in what came of its rows.
    fn compute(&mut self, batch: &mut Batch) -> Result<()> {
        let (sequences, threads) = (&mut self.sequences, &self.threads);
        let profile = self.watch.profile.as_deref();
        self.runner.run(batch, profile, &mut |outputs| {
            let parts = sequences.beside(outputs);
            timed(profile, Operation::Sampling, || {
                threads.for_each(parts, 1, |(sequence, output)| sequence.take(output));
            });
        })?;
        self.watch.note(batch.tokens.len());
        Ok(())
    }

    /// A batch of the plan's rows; also whether a sequence had to stay out for want of blocks.
    fn build_batch(&mut self, plan: &Plan) -> Result<(Batch, bool)> {
        let mut batch = Batch::default();
        let mut short = false;
        for row in &plan.rows {
            // A sequence has one run of rows in a step, however often a plan names it.
            let included = &batch.sequences;
            if included.iter().any(|rows| rows.owner == row.sequence) {
                continue;
            }
            match self.add_rows(*row, plan, &mut batch)? {
                Added::Rows | Added::Waits => {}
                Added::Short => short = true,
            }
        }
        if batch.is_empty()
            && short
            && let [row] = plan.rows[..]
        {
            short = !self.fail_for_want_of_blocks(row.sequence);
        }
        Ok((batch.with_adapters_together(), short))
    }

    fn add_rows(&mut self, row: PlanRow, plan: &Plan, batch: &mut Batch) -> Result<Added> {
        let (id, memory) = (row.sequence, &mut self.memory);
        let Some(sequence) = self.sequences.get_mut(id) else {
            return Ok(Added::Waits);
        };
        let was_aside = sequence.paused.is_some();
        if !memory.take_up(sequence, self.runner.blocks()) {
            return Ok(Added::Short);
        }
        // Long-context frequencies change once a sequence outgrows the trained context; then what was
        // computed under the old ones is computed anew, as transformers does.
        let regimes = self.runner.spec().rope_regimes(sequence.tokens.len());
        let is_outgrown = regimes != sequence.namespace.rotary;
        if is_outgrown {
            memory.release(sequence);
            sequence.namespace.rotary = regimes;
        }
        if is_outgrown || was_aside && sequence.computed == 0 {
            self.sequences
                .find_prefix(id, (memory, self.runner.blocks()));
        }
        let is_planned = |id| plan.rows.iter().any(|row| row.sequence == id);
        let shared = (&mut *memory, self.runner.blocks());
        if self.sequences.is_waiting(id, shared, is_planned) {
            return Ok(Added::Waits);
        }
        let Some(sequence) = self.sequences.get_mut(id) else {
            return Ok(Added::Waits);
        };
        let mut count = sequence.remaining().min(row.prefill_tokens.max(1));
        if count == 0 {
            return Err(Error::InvalidOperation(format!(
                "sequence {} has nothing to compute",
                id.0
            )));
        }
        // Of a step that failed.
        let _ = sequence.work.take_draft();
        if !memory.give_blocks(sequence, rows_for(sequence.computed + count)) {
            count = count.min(memory.reach(sequence));
            if count == 0 {
                return Ok(Added::Short);
            }
        }
        let end = sequence.computed + count;
        let rows = BatchSequence {
            owner: id,
            cancel: sequence.cancel.clone(),
            first_row: 0,
            rows: 0,
            first_position: sequence.computed,
            block_tables: Arc::clone(sequence.blocks.ids()),
            rope_length: sequence.tokens.len(),
            wanted: sequence.work.wanted(end == sequence.tokens.len()),
            adapters: Arc::clone(&sequence.adapters),
            head: sequence.head.clone(),
            is_captured: sequence.work.captures(),
        };
        batch.push(&sequence.tokens[sequence.computed..end], rows);
        Ok(Added::Rows)
    }

    /// Ends a sequence that cannot go on, where no other one has blocks to give back; whether it is so.
    fn fail_for_want_of_blocks(&mut self, id: SequenceId) -> bool {
        let has_blocks = |other: &Sequence| other.id != id && !other.blocks.is_empty();
        let sequence = match self.sequences.get(id) {
            Some(sequence) if !self.sequences.iter().any(has_blocks) => sequence,
            _ => return false,
        };
        let kv = &self.memory.kv;
        let error = Error::OutOfMemory(format!(
            "a sequence of {} tokens needs another key-value block; of {} blocks {} have room beside the \
             adapters in use and {} are free, tenant {:?} may take {} bytes more; lower max_tokens, or raise \
             kv_cache_bytes or the quota",
            sequence.tokens.len(),
            kv.total_blocks(),
            kv.room_blocks(),
            kv.free_blocks(),
            sequence.namespace.tenant,
            sequence
                .tenant
                .as_ref()
                .and_then(|tenant| tenant.room())
                .unwrap_or(usize::MAX)
        ));
        self.fail(id, error);
        true
    }

    /// What a step made of a sequence; a reason when it is done. Its rows are taken as computed, a prompt that is
    /// complete becomes known to others, and tokens that follow become a part of the sequence.
    fn outcome_of(&mut self, rows: &BatchSequence) -> Result<Option<FinishReason>> {
        let Some(sequence) = self.sequences.get_mut(rows.owner) else {
            return Ok(None);
        };
        let before = sequence.computed;
        let draft = sequence.work.take_draft();
        sequence.computed += rows.rows - draft.tokens().len();
        if before < sequence.prompt_tokens && sequence.computed >= sequence.prompt_tokens {
            self.memory.keep(sequence);
        }
        let is_complete = sequence.remaining() == 0;
        let Work::Generate(generation) = &mut sequence.work else {
            let failure = sequence.failure.take();
            self.memory.let_passed_go(sequence);
            return failure.map_or(Ok(is_complete.then_some(FinishReason::Done)), Err);
        };
        let mut finish = None;
        let drawn = generation.accepted.len();
        let mut said = 0;
        for accepted in generation.accepted.drain(..) {
            finish = accepted.finish;
            if let Some(part) = accepted.part {
                said += 1;
                sequence.tokens.push(part.token);
                self.controls.events.push(Event::Token {
                    sequence: rows.owner,
                    token: part.token,
                    text: part.text,
                    logprobs: part.logprob,
                });
            }
        }
        let failure = sequence.failure.take();
        self.end_draft(rows, &draft, drawn, said);
        if let Some(sequence) = self.sequences.get_mut(rows.owner) {
            self.memory.let_passed_go(sequence);
        }
        failure.map_or(Ok(finish), Err)
    }
}
