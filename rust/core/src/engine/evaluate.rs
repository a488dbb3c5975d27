//! What is said about given tokens: logits, scores and embeddings, from the rows of each step.

use crate::error::Result;
use crate::events::{Event, FinishReason};
use crate::sequence::{Sequence, Work};

use super::Engine;
use super::step::{LOGIT_ROWS, StepRows};

impl Engine {
    /// Takes the computed rows of an evaluation into its result; a reason when it is done.
    pub(super) fn evaluate(&mut self, rows: &StepRows) -> Result<Option<FinishReason>> {
        let Some(sequence) = self.sequences.get_mut(&rows.id) else {
            return Ok(None);
        };
        let spec = self.model.spec();
        let (width, vocab) = (spec.hidden_size, spec.vocab_size);
        let hidden = &self.work.hidden()[rows.first_row * width..][..rows.rows * width];
        let first_position = sequence.computed - rows.rows;
        let complete = sequence.remaining() == 0;
        let profile = self.profile.as_deref();
        let (buffers, logits) = (&mut self.logits_buffers, &mut self.logits);
        match &mut sequence.work {
            Work::Generate(_) => return Ok(None),
            Work::Embed(sum) => {
                for row in hidden.chunks_exact(width) {
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += value);
                }
                if complete {
                    normalize(sum);
                }
            }
            Work::Logits(values) => {
                for hidden in hidden.chunks(LOGIT_ROWS * width) {
                    self.model.logits(hidden, buffers, logits, profile);
                    values.extend_from_slice(logits);
                }
            }
            Work::Score(scoring) => {
                // Each row is about the token after its own; the last one of all has none.
                let mut targets = sequence.tokens[first_position..].iter().skip(1);
                for hidden in hidden.chunks(LOGIT_ROWS * width) {
                    self.model.logits(hidden, buffers, logits, profile);
                    for (logits, target) in logits.chunks_exact(vocab).zip(&mut targets) {
                        let top = scoring.top_logprobs;
                        let score = self.meter.measure(logits, *target, top)?;
                        scoring.scores.push(score);
                    }
                }
            }
        }
        Ok(complete.then_some(FinishReason::Done))
    }
}

/// The event with what an evaluation has found.
pub(super) fn result_of(sequence: &mut Sequence) -> Option<Event> {
    let id = sequence.id;
    match &mut sequence.work {
        Work::Generate(_) => None,
        Work::Logits(values) | Work::Embed(values) => Some(Event::Values {
            sequence: id,
            values: std::mem::take(values),
        }),
        Work::Score(scoring) => {
            let targets = sequence.tokens.iter().skip(1).copied();
            Some(Event::Scores {
                sequence: id,
                scores: targets.zip(scoring.scores.drain(..)).collect(),
            })
        }
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
