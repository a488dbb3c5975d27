//! A generation in progress: draws, what they make of the text, and when it is over.

use std::collections::VecDeque;
use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::bans::{Bans, MayCome};
use super::capturing::Capturing;
use super::processing::Processing;
use super::request::GenerateTask;
use super::thinking::Thinking;
use crate::error::Result;
use crate::events::{FinishReason, StoppedAt};
use crate::grammar::Constraint;
use crate::ids::TokenId;
use crate::learning::CANDIDATES;
use crate::sampling::{Sampled, Sampler, TokenLogprobs};
use crate::speculation::{Draft, DraftCounts, Drafting};
use crate::text::{Detokenizer, StopMatcher, Vocabulary};

/// A generation in progress.
#[derive(Debug)]
pub(crate) struct Generation {
    sampler: Sampler,
    /// What must come next.
    forced: VecDeque<TokenId>,
    /// What the last step has made a part of the answer.
    pub(crate) accepted: Vec<Accepted>,
    /// What it may be drawn from, where that is not everything.
    constraint: Option<Constraint>,
    /// Who changes its logits.
    processing: Option<Processing>,
    /// How long it may think yet.
    thinking: Option<Thinking>,
    /// At most so many tokens, by the request or the context.
    most_tokens: usize,
    pub(crate) generated: usize,
    /// What ends it, and is no part of it: for all requests, and for this one.
    end_tokens: Arc<[TokenId]>,
    stop_tokens: Vec<TokenId>,
    /// Before so many tokens nothing of that is drawn.
    min_tokens: usize,
    /// What must not be in it.
    bans: Option<Bans>,
    /// What of the request has ended it.
    pub(crate) stopped_at: Option<StoppedAt>,
    text: Option<TextOut>,
    /// What is kept of it for learning.
    pub(crate) capturing: Option<Capturing>,
    /// Who guesses what comes next, where anybody does.
    pub(crate) drafting: Option<Box<Drafting>>,
    /// What is guessed in this step.
    pub(crate) draft: Draft,
}

#[derive(Debug)]
struct TextOut {
    detokenizer: Detokenizer,
    stop: StopMatcher,
}

/// What a token led to.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// `None` for an end-of-generation token, which does not belong to the answer.
    pub(crate) part: Option<Part>,
    pub(crate) finish: Option<FinishReason>,
}

/// A token of an answer.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) token: TokenId,
    /// What became safe to show with it.
    pub(crate) text: String,
    pub(crate) logprob: Option<TokenLogprobs>,
}

/// What generations of a model have in common.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) vocabulary: Option<Arc<Vocabulary>>,
    pub(crate) end_tokens: Arc<[TokenId]>,
    pub(crate) kernels: Arc<dyn Kernels>,
    /// Positions of the longest sequence.
    pub(crate) max_context: usize,
}

impl Generation {
    pub(crate) fn new(task: GenerateTask, prompt: &[TokenId], ground: Ground) -> Self {
        let mut sampler = Sampler::new(*task.sampling, task.seed, ground.kernels);
        if let Some(vocabulary) = &ground.vocabulary {
            sampler = sampler.reading(vocabulary);
        }
        for token in prompt {
            sampler.observe(*token, false);
        }
        let thinking = match (task.thinking, &ground.vocabulary) {
            (Some(budget), Some(tokens)) => {
                Some(Thinking::new(*budget, prompt, Arc::clone(tokens)))
            }
            _ => None,
        };
        let bounds = *task.bounds;
        let bans = Bans::new(
            &bounds.banned,
            ground.vocabulary.as_ref(),
            &task.keep_special,
        );
        let text = ground.vocabulary.map(|vocabulary| TextOut {
            detokenizer: Detokenizer::new(vocabulary, true).showing(&task.keep_special),
            stop: StopMatcher::new(&bounds.stop),
        });
        Self {
            sampler,
            forced: VecDeque::new(),
            accepted: Vec::new(),
            constraint: task.grammar.map(|(grammar, start)| grammar.begin(&start)),
            processing: task
                .processor
                .map(|processor| Processing::new(processor, prompt)),
            thinking,
            most_tokens: task
                .max_tokens
                .min(ground.max_context.saturating_sub(prompt.len())),
            generated: 0,
            end_tokens: if bounds.ignore_end {
                Arc::default()
            } else {
                ground.end_tokens
            },
            stop_tokens: bounds.stop_tokens,
            min_tokens: bounds.min_tokens,
            bans,
            stopped_at: None,
            text,
            capturing: None,
            drafting: None,
            draft: Draft::default(),
        }
    }

    /// Draws from the rows in order, as far as each is behind what the answer has become.
    pub(super) fn take(&mut self, rows: &mut [f32], width: usize, states: &[f32]) -> Result<()> {
        let hidden = states.len() / (rows.len() / width).max(1);
        for (row, logits) in rows.chunks_exact_mut(width).enumerate() {
            if self.draft.holds_next_row() {
                self.draw(logits, &states[row * hidden..(row + 1) * hidden])?;
            }
        }
        Ok(())
    }

    /// Draws the next token, and goes on with what must follow it: that needs no row to be drawn from.
    fn draw(&mut self, logits: &mut [f32], state: &[f32]) -> Result<()> {
        let drawn = match self.forced()? {
            Some(token) => self.sampler.given(token, logits)?,
            None => self.drawn(logits)?,
        };
        if let Some(capturing) = &mut self.capturing
            && capturing.wants_more()
        {
            let measured = self.sampler.measure(logits, drawn.token, CANDIDATES)?;
            capturing.note((state, logits), drawn.token, &measured);
        }
        let mut is_over = self.accept(drawn)?;
        // Who wants to know how likely each token was needs its row.
        let is_measured = self.sampler.params().logprobs.is_some() || self.capturing.is_some();
        while !is_over
            && !is_measured
            && let Some(token) = self.forced()?
        {
            is_over = self.accept(Sampled {
                token,
                logprob: None,
            })?;
        }
        if is_over {
            self.draft.stop();
        }
        Ok(())
    }

    /// Draws the next token of what is made of the logits; how likely it was is what the model says.
    fn drawn(&mut self, logits: &mut [f32]) -> Result<Sampled> {
        let Some(processing) = &mut self.processing else {
            return self.chosen(logits);
        };
        processing.change(logits)?;
        let token = self.chosen(logits)?.token;
        if let Some(processing) = &self.processing {
            processing.take_back(logits);
        }
        self.sampler.given(token, logits)
    }

    /// Draws a token that may come next.
    fn chosen(&mut self, logits: &mut [f32]) -> Result<Sampled> {
        let is_early = self.generated < self.min_tokens;
        if !is_early && self.bans.is_none() {
            return match &mut self.constraint {
                None => self.sampler.sample(logits),
                Some(constraint) => self.sampler.sample_among(logits, constraint),
            };
        }
        let mut may_come = MayCome {
            constraint: self.constraint.as_mut(),
            bans: self.bans.as_mut(),
            early: if is_early {
                [&self.end_tokens, &self.stop_tokens]
            } else {
                [&[], &[]]
            },
            tokens: logits.len(),
            mask: Vec::new(),
        };
        self.sampler.sample_among(logits, &mut may_come)
    }

    /// How many tokens may be guessed: the answer may not have more. What its grammar cannot go on with is not
    /// asked here: that could use up what a grammar may spend on the answer itself.
    pub(crate) fn room_for_guesses(&self) -> usize {
        self.most_tokens.saturating_sub(self.generated + 1)
    }

    /// Adds what a draft model's logits make of the token `ahead` of the next one, behind so many tokens of the text;
    /// where they make nothing, nothing is guessed.
    pub(crate) fn guess_of_model(&mut self, tokens: usize, ahead: usize, logits: &mut [f32]) {
        if let Some(drafting) = &mut self.drafting {
            let guess = self.sampler.guess(logits, ahead).ok();
            drafting.add_model_guess(tokens, ahead, guess);
        }
    }

    /// Whether the answer is over with that token.
    pub(crate) fn ends_with(&self, token: TokenId) -> bool {
        self.end_tokens.contains(&token) || self.stop_tokens.contains(&token)
    }

    /// Guesses so far.
    pub(crate) fn draft_counts(&self) -> DraftCounts {
        self.drafting
            .as_ref()
            .map_or_else(DraftCounts::default, |drafting| drafting.counts)
    }

    /// The next token, where it must be this one.
    fn forced(&mut self) -> Result<Option<TokenId>> {
        if self.forced.is_empty()
            && let Some(thinking) = &mut self.thinking
        {
            self.forced = thinking.forced();
        }
        if self.forced.is_empty()
            && let Some(constraint) = &mut self.constraint
        {
            self.forced = constraint.forced()?.into();
        }
        Ok(self.forced.pop_front())
    }

    /// Makes a token a part of the answer; whether that is over with it.
    fn accept(&mut self, Sampled { token, logprob }: Sampled) -> Result<bool> {
        self.draft.compare(token);
        if let Some(thinking) = &mut self.thinking {
            thinking.accept(token);
        }
        let is_complete = match &mut self.constraint {
            Some(constraint) => constraint.accept(token)?,
            None => false,
        };
        let is_stop = self.stop_tokens.contains(&token);
        if is_stop {
            self.stopped_at = Some(StoppedAt::Token(token));
        }
        if is_stop || self.end_tokens.contains(&token) {
            self.accepted.push(Accepted {
                part: None,
                finish: Some(FinishReason::Stop),
            });
            return Ok(true);
        }
        self.sampler.observe(token, true);
        self.generated += 1;
        if let Some(processing) = &mut self.processing {
            processing.accept(token);
        }
        if let Some(bans) = &mut self.bans {
            bans.accept(token);
        }
        let (text, stopped) = match &mut self.text {
            Some(out) => {
                let outcome = out.stop.push(out.detokenizer.push(token));
                self.stopped_at = outcome.matched.map(StoppedAt::Text);
                (outcome.emit, outcome.matched.is_some())
            }
            None => (String::new(), false),
        };
        let finish = match (stopped || is_complete, self.generated >= self.most_tokens) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        self.accepted.push(Accepted {
            part: Some(Part {
                token,
                text,
                logprob,
            }),
            finish,
        });
        Ok(finish.is_some())
    }

    /// The text that was held back, when the sequence ends.
    pub(crate) fn rest(&mut self) -> String {
        let Some(out) = &mut self.text else {
            return String::new();
        };
        let outcome = out.stop.push(out.detokenizer.finish());
        if let Some(matched) = outcome.matched {
            self.stopped_at = Some(StoppedAt::Text(matched));
            outcome.emit
        } else {
            outcome.emit + &out.stop.finish()
        }
    }
}
