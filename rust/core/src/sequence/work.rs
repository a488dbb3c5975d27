//! What becomes of a sequence's rows: a next token, or what is said about given ones.

use super::capturing::Capturing;
use super::comparing::Comparing;
use super::generation::Generation;
use crate::batch::Wanted;
use crate::error::Result;
use crate::events::Event;
use crate::ids::{SequenceId, TokenId};
use crate::learning::CANDIDATES;
use crate::model::Output;
use crate::sampling::{LogprobMeter, TokenLogprobs};
use crate::speculation::Draft;

/// What becomes of a sequence's rows.
#[derive(Debug)]
pub(crate) enum Work {
    Generate(Box<Generation>),
    Logits(Vec<f32>),
    Score(Box<Scoring>),
    Compare(Box<Comparing>),
    Embed(Vec<f32>),
}

/// The tokens that are measured so far, after the first.
#[derive(Debug)]
pub(crate) struct Scoring {
    pub(crate) top_logprobs: usize,
    pub(crate) meter: LogprobMeter,
    pub(crate) scores: Vec<TokenLogprobs>,
    /// What is kept of the last of them for learning.
    pub(crate) capturing: Option<Capturing>,
}

impl Work {
    /// What of its next rows it needs; `complete` where they are the last ones to compute.
    pub(crate) fn wanted(&self, complete: bool) -> Wanted {
        match self {
            Self::Generate(_) if complete => Wanted::Last,
            Self::Generate(_) => Wanted::Nothing,
            Self::Logits(_) | Self::Score(_) => Wanted::All,
            Self::Compare(comparing) => Wanted::From(comparing.first_position()),
            Self::Embed(_) => Wanted::Hidden,
        }
    }

    /// How many of `tokens` need not be computed for it, where their keys and values are known.
    pub(crate) fn reusable_tokens(&self, tokens: usize) -> usize {
        match self {
            // Whoever makes tokens needs the logits of the last one to choose from.
            Self::Generate(_) => tokens - 1,
            Self::Compare(comparing) => comparing.first_position(),
            Self::Logits(_) | Self::Score(_) | Self::Embed(_) => 0,
        }
    }

    /// How many of so many computed tokens others may have a use for.
    pub(crate) fn kept_tokens(&self, computed: usize) -> usize {
        match self {
            Self::Generate(_) => computed,
            Self::Compare(comparing) => computed.min(comparing.shared_tokens()),
            Self::Logits(_) | Self::Score(_) | Self::Embed(_) => 0,
        }
    }

    /// Takes in what it wanted of the next rows of `tokens`.
    pub(super) fn take(&mut self, tokens: &[TokenId], output: Output<'_>) -> Result<()> {
        let Output {
            values,
            width,
            states,
            ..
        } = output;
        match self {
            Self::Generate(generation) => return generation.take(values, width, states),
            Self::Logits(logits) => logits.extend_from_slice(values),
            Self::Score(scoring) => return scoring.take(tokens, (values, width), states),
            Self::Compare(comparing) => return comparing.take(values, width),
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
            Self::Compare(comparing) => Some(Event::Values {
                sequence,
                values: comparing.result(),
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
            Self::Score(scoring) => scoring.restart(),
            Self::Compare(comparing) => comparing.restart(),
            Self::Embed(sum) => sum.fill(0.0),
        }
    }

    /// What was guessed in the step that is over; the next one begins without.
    pub(crate) fn take_draft(&mut self) -> Draft {
        match self {
            Self::Generate(generation) => std::mem::take(&mut generation.draft),
            _ => Draft::default(),
        }
    }

    /// Whether its hidden states are wanted beside its logits.
    pub(crate) fn captures(&self) -> bool {
        match self {
            Self::Generate(generation) => generation.capturing.is_some(),
            Self::Score(scoring) => scoring.capturing.is_some(),
            Self::Logits(_) | Self::Compare(_) | Self::Embed(_) => false,
        }
    }

    /// Gives what was kept of the answer to whoever learns from it.
    pub(crate) fn keep_capture(&mut self) {
        let capturing = match self {
            Self::Generate(generation) => generation.capturing.take(),
            Self::Score(scoring) => scoring.capturing.take(),
            Self::Logits(_) | Self::Compare(_) | Self::Embed(_) => None,
        };
        if let Some(capturing) = capturing {
            capturing.keep();
        }
    }
}

impl Scoring {
    /// Each row is about the token after its own; the last one of all has none.
    fn take(
        &mut self,
        tokens: &[TokenId],
        (values, width): (&[f32], usize),
        states: &[f32],
    ) -> Result<()> {
        let first = self.scores.len() + 1;
        let targets = tokens.iter().enumerate().skip(first);
        let hidden = states.len() / (values.len() / width).max(1);
        for (index, (logits, (place, target))) in
            values.chunks_exact(width).zip(targets).enumerate()
        {
            let capturing = self.capturing.as_mut();
            let capturing = capturing.filter(|capturing| capturing.wants_given(place));
            let count = capturing.as_ref().map_or(self.top_logprobs, |_| CANDIDATES);
            let mut score = self.meter.measure(logits, *target, count)?;
            if let Some(capturing) = capturing {
                let state = &states[index * hidden..(index + 1) * hidden];
                capturing.note((state, logits), *target, &score);
                score.top.truncate(self.top_logprobs);
            }
            self.scores.push(score);
        }
        Ok(())
    }

    fn restart(&mut self) {
        self.scores.clear();
        if let Some(capturing) = &mut self.capturing {
            capturing.restart();
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
