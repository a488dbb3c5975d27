//! An answer over logits that somebody else computes: drawn, bounded and held to its grammar as in the engine.
//!
//! The engine has its own sequences and does without. What is kept of keys and values, and which rows are computed,
//! is the caller's matter: it gives the logits behind the last token, as often as [`Answer::take`] says no end.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::generation::{Generation, Ground};
use super::request::GenerateTask;
use crate::error::{Error, Result};
use crate::events::{FinishReason, StoppedAt};
use crate::ids::TokenId;
use crate::sampling::TokenLogprobs;
use crate::speculation::Draft;
use crate::text::Vocabulary;

/// What answers of a model have in common.
#[derive(Debug, Clone)]
pub struct AnswerGround {
    /// What its tokens say.
    pub vocabulary: Option<Arc<Vocabulary>>,
    /// What ends an answer and is no part of it.
    pub end_tokens: Arc<[TokenId]>,
    /// Logits of a row.
    pub vocab_size: usize,
    /// The arithmetic of draws.
    pub kernels: Arc<dyn Kernels>,
    /// Positions of a prompt and its answer together.
    pub max_context: usize,
}

/// What a row of logits led to.
#[derive(Debug, Default)]
pub struct AnswerStep {
    /// Tokens of the answer: none where a token ended it, several where a grammar left no choice.
    pub tokens: Vec<(TokenId, Option<TokenLogprobs>)>,
    /// Why it is over, where it is.
    pub finish: Option<FinishReason>,
    /// What of the request has ended it.
    pub stopped_at: Option<StoppedAt>,
}

/// One answer in progress.
#[derive(Debug)]
pub struct Answer {
    generation: Generation,
    vocab_size: usize,
}

impl Answer {
    /// Begins one; [`Error::Config`] for parameters that are out of their ranges, and for a prompt without room.
    pub fn new(task: GenerateTask, prompt: &[TokenId], ground: AnswerGround) -> Result<Self> {
        let vocab_size = ground.vocab_size;
        task.sampling.validate(vocab_size)?;
        let all = prompt.iter().chain(&task.bounds.stop_tokens);
        if let Some(token) = all.copied().find(|token| *token as usize >= vocab_size) {
            return Err(Error::Config(format!(
                "token {token} is none of the model, which has {vocab_size}"
            )));
        }
        if prompt.is_empty() || prompt.len() >= ground.max_context {
            return Err(Error::Config(format!(
                "a prompt of {} tokens; between 1 and {} are allowed, so that an answer has room",
                prompt.len(),
                ground.max_context.saturating_sub(1)
            )));
        }
        let ground = Ground {
            vocabulary: ground.vocabulary,
            end_tokens: ground.end_tokens,
            kernels: ground.kernels,
            max_context: ground.max_context,
        };
        Ok(Self {
            generation: Generation::new(task, prompt, ground),
            vocab_size,
        })
    }

    /// Draws from the logits behind the last token; they are as they came afterwards.
    pub fn take(&mut self, logits: &mut [f32]) -> Result<AnswerStep> {
        if logits.len() != self.vocab_size {
            return Err(Error::Generation(format!(
                "a row of {} logits, where the model has {} tokens",
                logits.len(),
                self.vocab_size
            )));
        }
        self.generation.draft = Draft::default();
        self.generation.take(logits, self.vocab_size, &[])?;
        let mut step = AnswerStep::default();
        for accepted in self.generation.accepted.drain(..) {
            let part = accepted.part;
            step.tokens
                .extend(part.map(|part| (part.token, part.logprob)));
            step.finish = step.finish.or(accepted.finish);
        }
        step.stopped_at = self.generation.stopped_at;
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{Sampler, SamplingParams};
    use crate::sequence::Bounds;

    const WIDTH: usize = 50;

    fn row(index: usize) -> Vec<f32> {
        let value = |token: usize| ((token * 37 + index * 11) % 17) as f32 / 4.0;
        (0..WIDTH).map(value).collect()
    }

    fn task(bounds: Bounds) -> GenerateTask {
        GenerateTask {
            sampling: Box::new(SamplingParams::default()),
            seed: 5,
            max_tokens: 6,
            bounds: Box::new(bounds),
            grammar: None,
            thinking: None,
            keep_special: Vec::new(),
            prediction: None,
            processor: None,
        }
    }

    fn ground() -> AnswerGround {
        AnswerGround {
            vocabulary: None,
            end_tokens: Arc::from([49]),
            vocab_size: WIDTH,
            kernels: ruvllm_kernels::best(),
            max_context: 100,
        }
    }

    #[test]
    fn draws_are_those_of_a_sampler_by_itself() {
        let prompt = [3, 4];
        let mut answer = Answer::new(task(Bounds::default()), &prompt, ground()).unwrap();
        let kernels = ruvllm_kernels::best();
        let mut sampler = Sampler::new(SamplingParams::default(), 5, kernels);
        for token in prompt {
            sampler.observe(token, false);
        }
        for index in 0..6 {
            let step = answer.take(&mut row(index)).unwrap();
            let expected = sampler.sample(&mut row(index)).unwrap().token;
            sampler.observe(expected, true);
            assert_eq!(step.tokens, [(expected, None)]);
            let last = (index == 5).then_some(FinishReason::Length);
            assert_eq!(step.finish, last);
        }
    }

    #[test]
    fn a_token_that_ends_it_is_no_part_of_it() {
        let every = Bounds {
            stop_tokens: (0..WIDTH as TokenId).collect(),
            ..Bounds::default()
        };
        let mut answer = Answer::new(task(every), &[1], ground()).unwrap();
        let step = answer.take(&mut row(0)).unwrap();
        assert!(step.tokens.is_empty());
        assert_eq!(step.finish, Some(FinishReason::Stop));
        assert!(matches!(step.stopped_at, Some(StoppedAt::Token(_))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (prompt, stop) in [(vec![], 1), (vec![50], 1), (vec![1], 50), (vec![1; 100], 1)] {
            let bounds = Bounds {
                stop_tokens: vec![stop],
                ..Bounds::default()
            };
            let refused = Answer::new(task(bounds), &prompt, ground());
            assert!(matches!(refused, Err(Error::Config(_))), "{prompt:?}");
        }
        let mut answer = Answer::new(task(Bounds::default()), &[1], ground()).unwrap();
        assert!(matches!(
            answer.take(&mut [0.0; 3]),
            Err(Error::Generation(_))
        ));
    }
}
