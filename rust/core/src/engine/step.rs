//! One step: build a batch from the plan, run it, and act on its rows.

use crate::error::{Error, Result};
use crate::events::FinishReason;
use crate::ids::SequenceId;
use crate::model::Forwarded;
use crate::sequence::{Sequence, Work};

use super::{Engine, Pause, Plan, PlanRow, blocks_for};

/// Rows whose logits are computed together, at most.
pub(super) const LOGIT_ROWS: usize = 32;

/// The rows of a sequence in the batch that is running.
pub(super) struct StepRows {
    pub(super) id: SequenceId,
    pub(super) first_row: usize,
    pub(super) rows: usize,
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
        let (rows, short) = self.build_batch(plan)?;
        if rows.is_empty() {
            return Ok(Some(if short { Pause::Blocks } else { Pause::Horizon }));
        }
        let flags: Vec<_> = rows
            .iter()
            .filter_map(|rows| self.sequences.get(&rows.id))
            .collect();
        let flags: Vec<_> = flags
            .into_iter()
            .map(|sequence| sequence.cancel.clone())
            .collect();
        let interrupted = || flags.iter().any(crate::sequence::CancelFlag::is_cancelled);
        let outcome = self.model.forward(
            &mut self.kv,
            &self.batch,
            &mut self.work,
            &interrupted,
            self.profile.as_deref(),
        )?;
        if outcome == Forwarded::Interrupted {
            return Ok(None);
        }
        for rows in &rows {
            if let Some(sequence) = self.sequences.get_mut(&rows.id) {
                sequence.computed += rows.rows;
            }
        }
        let mut finished = false;
        for rows in &rows {
            if let Some(reason) = self.evaluate(rows) {
                self.finish(rows.id, reason)?;
                finished = true;
            }
        }
        for (id, outcome) in self.choose(&rows) {
            match outcome {
                Ok(None) => continue,
                Ok(Some(reason)) => self.finish(id, reason)?,
                Err(error) => self.fail(id, error)?,
            }
            finished = true;
        }
        Ok(finished.then_some(Pause::Finished))
    }

    /// Fills the batch; also whether a sequence had to stay out for want of blocks.
    fn build_batch(&mut self, plan: &Plan) -> Result<(Vec<StepRows>, bool)> {
        self.batch.tokens.clear();
        self.batch.sequences.clear();
        let mut included = Vec::new();
        let mut short = false;
        for row in &plan.rows {
            // A sequence has one run of rows in a step, however often a plan names it.
            if included
                .iter()
                .any(|rows: &StepRows| rows.id == row.sequence)
            {
                continue;
            }
            let Some(mut sequence) = self.sequences.remove(&row.sequence) else {
                continue;
            };
            let outcome = self.add_rows(&mut sequence, *row);
            let id = sequence.id;
            self.sequences.insert(id, sequence);
            match outcome? {
                Some(rows) => included.push(rows),
                None => short = true,
            }
        }
        Ok((included, short))
    }

    fn add_rows(&mut self, sequence: &mut Sequence, row: PlanRow) -> Result<Option<StepRows>> {
        self.restart_in_new_regime(sequence);
        let count = sequence.remaining().min(row.prefill_tokens.max(1));
        let end = sequence.computed + count;
        while sequence.blocks.len() < blocks_for(end) {
            match self.kv.take() {
                Some(block) => sequence.blocks.push(block),
                None => return Ok(None),
            }
        }
        if count == 0 {
            return Err(Error::InvalidOperation(format!(
                "sequence {} has nothing to compute",
                sequence.id.0
            )));
        }
        let first_row = self.batch.tokens.len();
        let table = sequence.blocks.iter().map(|block| block.0).collect();
        let tokens = &sequence.tokens[sequence.computed..end];
        self.batch
            .push(tokens, sequence.computed, table, sequence.tokens.len());
        Ok(Some(StepRows {
            id: sequence.id,
            first_row,
            rows: count,
        }))
    }

    /// Long-context frequencies change once a sequence outgrows the trained context; then what was
    /// computed under the old ones is computed anew, as transformers does.
    fn restart_in_new_regime(&self, sequence: &mut Sequence) {
        let length = sequence.tokens.len();
        let regimes: Vec<_> = self
            .model
            .spec()
            .ropes
            .iter()
            .map(|rope| rope.regime(length))
            .collect();
        if regimes != sequence.regimes {
            sequence.regimes = regimes;
            sequence.computed = 0;
        }
    }

    /// Takes the computed rows of an evaluation into its result; a reason when it is done.
    fn evaluate(&mut self, rows: &StepRows) -> Option<FinishReason> {
        let sequence = self.sequences.get_mut(&rows.id)?;
        let hidden_size = self.model.spec().hidden_size;
        let hidden = &self.work.hidden()[rows.first_row * hidden_size..][..rows.rows * hidden_size];
        let first_position = sequence.computed - rows.rows;
        let complete = sequence.remaining() == 0;
        match &mut sequence.work {
            Work::Generate(_) => return None,
            Work::Embed(sum) => {
                for row in hidden.chunks_exact(hidden_size) {
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += value);
                }
                if complete {
                    normalize(sum);
                }
            }
            Work::Logits(values) => {
                for hidden in hidden.chunks(LOGIT_ROWS * hidden_size) {
                    self.model.logits(
                        hidden,
                        &mut self.logits_buffers,
                        &mut self.logits,
                        self.profile.as_deref(),
                    );
                    values.extend_from_slice(&self.logits);
                }
            }
            Work::Score(scores) => {
                let targets = sequence
                    .tokens
                    .get(first_position + 1..)
                    .unwrap_or_default();
                for (chunk, hidden) in hidden.chunks(LOGIT_ROWS * hidden_size).enumerate() {
                    self.model.logits(
                        hidden,
                        &mut self.logits_buffers,
                        &mut self.logits,
                        self.profile.as_deref(),
                    );
                    let logits = self.logits.chunks_exact(self.model.spec().vocab_size);
                    for (logits, target) in logits.zip(targets.iter().skip(chunk * LOGIT_ROWS)) {
                        scores.push(
                            self.model.kernels().log_sum_exp(logits) - logits[*target as usize],
                        );
                    }
                }
            }
        }
        complete.then_some(FinishReason::Done)
    }
}

/// To unit length; a vector of zeros stays one.
fn normalize(values: &mut [f32]) {
    let length = values
        .iter()
        .map(|value| f64::from(*value).powi(2))
        .sum::<f64>()
        .sqrt() as f32;
    if length > 0.0 {
        for value in values {
            *value /= length;
        }
    }
}
