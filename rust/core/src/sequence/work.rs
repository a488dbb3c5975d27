//! What becomes of a sequence's rows: a next token, or what is said about given ones.

use super::generation::Generation;
use crate::batch::Wanted;
use crate::error::Result;
use crate::events::Event;
use crate::ids::{SequenceId, TokenId};
use crate::sampling::{LogprobMeter, TokenLogprobs};

/// What becomes of a sequence's rows.
#[derive(Debug)]
pub(crate) enum Work {
    Generate(Box<Generation>),
    Logits(Vec<f32>),
    Score(Box<Scoring>),
    Embed(Vec<f32>),
}

/// The tokens that are measured so far, after the first.
#[derive(Debug)]
pub(crate) struct Scoring {
    pub(crate) top_logprobs: usize,
    pub(crate) meter: LogprobMeter,
    pub(crate) scores: Vec<TokenLogprobs>,
}

impl Work {
    /// What of its next rows it needs; `complete` where they are the last ones to compute.
    pub(crate) fn wanted(&self, complete: bool) -> Wanted {
        match self {
            Self::Generate(_) if complete => Wanted::Last,
            Self::Generate(_) => Wanted::Nothing,
            Self::Logits(_) | Self::Score(_) => Wanted::All,
            Self::Embed(_) => Wanted::Hidden,
        }
    }

    /// Takes in what it wanted of the next rows of `tokens`, `[rows, width]`.
    pub(super) fn take(
        &mut self,
        tokens: &[TokenId],
        values: &mut [f32],
        width: usize,
    ) -> Result<()> {
        match self {
            Self::Generate(generation) => return generation.draw(values),
            Self::Logits(logits) => logits.extend_from_slice(values),
            Self::Score(scoring) => {
                let Scoring {
                    top_logprobs,
                    meter,
                    scores,
                } = &mut **scoring;
                // Each row is about the token after its own; the last one of all has none.
                let targets = tokens.iter().skip(scores.len() + 1);
                for (logits, target) in values.chunks_exact(width).zip(targets) {
                    scores.push(meter.measure(logits, *target, *top_logprobs)?);
                }
            }
            Self::Embed(sum) => {
                for row in values.chunks_exact(width) {
                    sum.iter_mut()
                        .zip(row)
                        .for_each(|(sum, value)| *sum += value);
                }
            }
        }
        Ok(())
    }

    /// The event with what an evaluation of `tokens` has found.
    pub(crate) fn result(&mut self, sequence: SequenceId, tokens: &[TokenId]) -> Option<Event> {
        if let Self::Embed(sum) = self {
            normalize(sum);
        }
        match self {
            Self::Generate(_) => None,
            Self::Logits(values) | Self::Embed(values) => Some(Event::Values {
                sequence,
                values: std::mem::take(values),
            }),
            Self::Score(scoring) => {
                let targets = tokens.iter().skip(1).copied();
                Some(Event::Scores {
                    sequence,
                    scores: targets.zip(scoring.scores.drain(..)).collect(),
                })
            }
        }
    }

    /// Forgets what was found of rows that will be computed again.
    pub(crate) fn restart(&mut self) {
        match self {
            // Its tokens stay, and only their rows are computed anew.
            Self::Generate(_) => {}
            Self::Logits(values) => values.clear(),
            Self::Score(scoring) => scoring.scores.clear(),
            Self::Embed(sum) => sum.fill(0.0),
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
