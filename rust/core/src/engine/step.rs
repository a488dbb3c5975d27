//! One step: build a batch from the plan, run it, and act on its rows.

use crate::batch::BatchSequence;
use crate::error::{Error, Result};
use crate::ids::SequenceId;
use crate::kv::{block_table, blocks_for};
use crate::model::Forwarded;
use crate::model::rope::RopeRegime;
use crate::sequence::Sequence;

use super::{Engine, Pause, Plan, PlanRow};

/// Rows whose logits are computed together, at most.
pub(super) const LOGIT_ROWS: usize = 32;

/// The rows of a sequence in the batch that is running.
pub(super) struct StepRows {
    pub(super) id: SequenceId,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

impl StepRows {
    fn of(sequence: &BatchSequence) -> Self {
        Self {
            id: sequence.owner,
            first_row: sequence.first_row,
            rows: sequence.rows,
        }
    }
}

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
        let Some(profile) = self.profile.clone() else {
            return self.run_step(plan);
        };
        profile.begin_step();
        let outcome = self.run_step(plan);
        profile.end_step(self.batch.tokens.len());
        outcome
    }

    fn run_step(&mut self, plan: &Plan) -> Result<Option<Pause>> {
        let short = self.build_batch(plan)?;
        if self.batch.is_empty() {
            return Ok(Some(if short { Pause::Blocks } else { Pause::Horizon }));
        }
        let profile = self.profile.as_deref();
        let outcome = self
            .model
            .forward(&mut self.kv, &mut self.batch, &mut self.work, profile)?;
        if outcome == Forwarded::Abandoned {
            return Ok(None);
        }
        self.steps += 1;
        self.rows += self.batch.tokens.len() as u64;
        // Those who are left: whoever cancelled meanwhile is out of the batch, and ends before the next step.
        let rows: Vec<StepRows> = self.batch.sequences.iter().map(StepRows::of).collect();
        for rows in &rows {
            self.count_computed(rows);
        }
        let mut finished = false;
        for rows in &rows {
            match self.evaluate(rows) {
                Ok(None) => continue,
                Ok(Some(reason)) => self.finish(rows.id, reason),
                Err(error) => self.fail(rows.id, error),
            }
            finished = true;
        }
        for (id, outcome) in self.choose(&rows) {
            match outcome {
                Ok(None) => continue,
                Ok(Some(reason)) => self.finish(id, reason),
                Err(error) => self.fail(id, error),
            }
            finished = true;
        }
        Ok(match (finished, short) {
            (true, _) => Some(Pause::Finished),
            (false, true) => Some(Pause::Blocks),
            (false, false) => None,
        })
    }

    /// Fills the batch; also whether a sequence had to stay out for want of blocks.
    fn build_batch(&mut self, plan: &Plan) -> Result<bool> {
        self.batch.tokens.clear();
        self.batch.sequences.clear();
        let mut short = false;
        for row in &plan.rows {
            // A sequence has one run of rows in a step, however often a plan names it.
            let included = &self.batch.sequences;
            if included.iter().any(|rows| rows.owner == row.sequence) {
                continue;
            }
            let Some(mut sequence) = self.sequences.remove(&row.sequence) else {
                continue;
            };
            let outcome = self.add_rows(&mut sequence, *row, plan);
            let id = sequence.id;
            self.sequences.insert(id, sequence);
            match outcome? {
                Added::Rows | Added::Waits => {}
                Added::Short => short = true,
            }
        }
        if self.batch.is_empty()
            && short
            && let [row] = plan.rows[..]
        {
            short = !self.fail_for_want_of_blocks(row.sequence);
        }
        Ok(short)
    }

    /// Ends a sequence that cannot go on, where no other one has blocks to give back; whether it is so.
    fn fail_for_want_of_blocks(&mut self, id: SequenceId) -> bool {
        let has_blocks = |other: &&Sequence| other.id != id && !other.blocks.is_empty();
        let sequence = match self.sequences.get(&id) {
            Some(sequence) if !self.sequences.values().any(|other| has_blocks(&other)) => sequence,
            _ => return false,
        };
        let error = Error::OutOfMemory(format!(
            "a sequence of {} tokens needs another key-value block; of {} blocks {} are free, tenant {:?} \
             may take {} bytes more; lower max_tokens, or raise kv_cache_bytes or the quota",
            sequence.tokens.len(),
            self.kv.total_blocks(),
            self.kv.free_blocks(),
            sequence.tenant_name,
            sequence
                .tenant
                .as_ref()
                .and_then(|tenant| tenant.room())
                .unwrap_or(usize::MAX)
        ));
        self.fail(id, error);
        true
    }

    /// Takes the rows of a step as computed; a prompt that is complete becomes known to others.
    fn count_computed(&mut self, rows: &StepRows) {
        let Some(mut sequence) = self.sequences.remove(&rows.id) else {
            return;
        };
        let before = sequence.computed;
        sequence.computed += rows.rows;
        if before < sequence.prompt_tokens && sequence.computed >= sequence.prompt_tokens {
            self.keep(&mut sequence);
        }
        self.sequences.insert(rows.id, sequence);
    }

    fn add_rows(&mut self, sequence: &mut Sequence, row: PlanRow, plan: &Plan) -> Result<Added> {
        if !self.resume(sequence)? {
            return Ok(Added::Short);
        }
        self.restart_in_new_regime(sequence)?;
        let is_planned = |id| plan.rows.iter().any(|row| row.sequence == id);
        if self.is_waiting(sequence, is_planned)? {
            return Ok(Added::Waits);
        }
        let count = sequence.remaining().min(row.prefill_tokens.max(1));
        let end = sequence.computed + count;
        while sequence.blocks.len() < blocks_for(end) {
            match self.take_block(sequence.tenant.as_ref()) {
                Some(block) => sequence.blocks.push(block),
                None => return Ok(Added::Short),
            }
        }
        if count == 0 {
            return Err(Error::InvalidOperation(format!(
                "sequence {} has nothing to compute",
                sequence.id.0
            )));
        }
        let tokens = &sequence.tokens[sequence.computed..end];
        let rows = BatchSequence {
            owner: sequence.id,
            cancel: sequence.cancel.clone(),
            first_row: 0,
            rows: 0,
            first_position: sequence.computed,
            block_table: block_table(&sequence.blocks),
            rope_length: sequence.tokens.len(),
        };
        self.batch.push(tokens, rows);
        Ok(Added::Rows)
    }

    /// Long-context frequencies change once a sequence outgrows the trained context; then what was
    /// computed under the old ones is computed anew, as transformers does.
    fn restart_in_new_regime(&mut self, sequence: &mut Sequence) -> Result<()> {
        if self.regimes_of(sequence) != sequence.regimes {
            self.release(sequence);
            self.find_prefix(sequence)?;
        }
        Ok(())
    }

    /// The rotary frequencies that go with a sequence's length.
    pub(super) fn regimes_of(&self, sequence: &Sequence) -> Vec<RopeRegime> {
        let ropes = self.model.spec().ropes.iter();
        ropes
            .map(|rope| rope.regime(sequence.tokens.len()))
            .collect()
    }
}
