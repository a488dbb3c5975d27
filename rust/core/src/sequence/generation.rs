//! A generation in progress: draws, what they make of the text, and when it is over.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::capturing::Capturing;
use super::request::GenerateTask;
use super::thinking::Thinking;
use crate::error::Result;
use crate::events::FinishReason;
use crate::grammar::Constraint;
use crate::ids::TokenId;
use crate::learning::CANDIDATES;
use crate::sampling::{Sampled, Sampler, TokenLogprobs};
use crate::text::{Detokenizer, StopMatcher, Vocabulary};

/// A generation in progress.
#[derive(Debug)]
pub(crate) struct Generation {
    sampler: Sampler,
    /// What was drawn and not yet accepted.
    drawn: Option<Sampled>,
    /// What it may be drawn from, where that is not everything.
    constraint: Option<Constraint>,
    /// How long it may think yet.
    thinking: Option<Thinking>,
    /// Whether the constraint allows nothing after what was drawn.
    is_complete: bool,
    max_tokens: usize,
    pub(crate) generated: usize,
    ignore_end: bool,
    text: Option<TextOut>,
    /// What is kept of it for learning.
    pub(crate) capturing: Option<Capturing>,
}

#[derive(Debug)]
struct TextOut {
    detokenizer: Detokenizer,
    stop: StopMatcher,
}

/// What a drawn token led to.
pub(crate) struct Accepted {
    /// `None` for an end-of-generation token, which does not belong to the answer.
    pub(crate) part: Option<Part>,
    pub(crate) finish: Option<FinishReason>,
}

/// A token of an answer.
pub(crate) struct Part {
    pub(crate) token: TokenId,
    /// What became safe to show with it.
    pub(crate) text: String,
    pub(crate) logprob: Option<TokenLogprobs>,
}

impl Generation {
    pub(crate) fn new(
        task: GenerateTask,
        prompt: &[TokenId],
        vocabulary: Option<Arc<Vocabulary>>,
        kernels: Arc<dyn Kernels>,
    ) -> Self {
        let mut sampler = Sampler::new(task.sampling, task.seed, kernels);
        for token in prompt {
            sampler.observe(*token, false);
        }
        let thinking = match (task.thinking, &vocabulary) {
            (Some(budget), Some(tokens)) => {
                Some(Thinking::new(*budget, prompt, Arc::clone(tokens)))
            }
            _ => None,
        };
        let text = vocabulary.map(|vocabulary| TextOut {
            detokenizer: Detokenizer::new(vocabulary, true).showing(&task.keep_special),
            stop: StopMatcher::new(&task.stop),
        });
        Self {
            sampler,
            drawn: None,
            constraint: task.grammar.map(|(grammar, start)| grammar.begin(&start)),
            thinking,
            is_complete: false,
            max_tokens: task.max_tokens,
            generated: 0,
            ignore_end: task.ignore_end,
            text,
            capturing: None,
        }
    }

    /// Draws the next token; what it leads to is up to [`Self::accept`].
    pub(super) fn draw(&mut self, logits: &mut [f32], state: &[f32]) -> Result<()> {
        let forced = self.thinking.as_mut().and_then(Thinking::forced);
        let drawn = match (forced, &mut self.constraint) {
            (Some(token), _) => self.sampler.given(token, logits)?,
            (None, None) => self.sampler.sample(logits)?,
            (None, Some(constraint)) => self.sampler.sample_among(logits, constraint)?,
        };
        if let Some(thinking) = &mut self.thinking {
            thinking.accept(drawn.token);
        }
        if let Some(constraint) = &mut self.constraint {
            self.is_complete = constraint.accept(drawn.token)?;
        }
        if let Some(capturing) = &mut self.capturing
            && capturing.wants_more()
        {
            let measured = self.sampler.measure(logits, drawn.token, CANDIDATES)?;
            capturing.note((state, logits), drawn.token, &measured);
        }
        self.drawn = Some(drawn);
        Ok(())
    }

    /// Makes the token that was drawn a part of the answer; `room` is how many more positions the context
    /// has after it. `None` where none was.
    pub(crate) fn accept(&mut self, end_tokens: &[TokenId], room: usize) -> Option<Accepted> {
        let Sampled { token, logprob } = self.drawn.take()?;
        if !self.ignore_end && end_tokens.contains(&token) {
            return Some(Accepted {
                part: None,
                finish: Some(FinishReason::Stop),
            });
        }
        self.sampler.observe(token, true);
        self.generated += 1;
        let (text, stopped) = match &mut self.text {
            Some(out) => {
                let outcome = out.stop.push(out.detokenizer.push(token));
                (outcome.emit, outcome.matched.is_some())
            }
            None => (String::new(), false),
        };
        let full = self.generated >= self.max_tokens || room == 0;
        let finish = match (stopped || self.is_complete, full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        Some(Accepted {
            part: Some(Part {
                token,
                text,
                logprob,
            }),
            finish,
        })
    }

    /// The text that was held back, when the sequence ends.
    pub(crate) fn rest(&mut self) -> String {
        let Some(out) = &mut self.text else {
            return String::new();
        };
        let outcome = out.stop.push(out.detokenizer.finish());
        if outcome.matched.is_some() {
            outcome.emit
        } else {
            outcome.emit + &out.stop.finish()
        }
    }
}
