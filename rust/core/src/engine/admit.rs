//! Requests in: everything about them is checked before they become a sequence.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::SequenceId;
use crate::kv::BlockTable;
use crate::learning::Captured;
use crate::lora::key_of;
use crate::prefix::Namespace;
use crate::sampling::{LogprobMeter, check_logprobs};
use crate::sequence::{
    Candidates, Capturing, Comparing, GenerateTask, Generation, Request, Scoring, Sequence, Task,
    Work,
};

use super::Engine;
use super::drafts::leaves_traces;

impl Engine {
    /// Takes a request in; its events carry the id that is returned.
    pub fn add(&mut self, request: Request) -> Result<SequenceId> {
        self.check_tokens(&request)?;
        self.check_learning(&request)?;
        let namespace = Namespace {
            tenant: request.tenant.clone(),
            adapter: key_of(&request.adapters),
            rotary: self.runner.spec().rope_regimes(request.tokens.len()),
        };
        let work = self.work_of(&request, &namespace)?;
        let tenant = match request.tenant.as_str() {
            "" => None,
            name => Some(self.memory.kv.pages().tenants().tenant(name)?),
        };
        let id = self.sequences.next_id();
        let has_use = work.reusable_tokens(request.tokens.len()) > 0;
        self.sequences.insert(Sequence {
            id,
            cancel: request.cancel,
            prompt_tokens: request.tokens.len(),
            computed: 0,
            blocks: BlockTable::new(self.memory.kv.groups()),
            pin: None,
            kept: 0,
            is_looked_up: false,
            cached: 0,
            cache_miss: None,
            // Who wants the rows of all tokens has none to take from elsewhere.
            cache_min_tokens: request.cache_min_tokens.filter(|_| has_use),
            follows: None,
            paused: None,
            tenant,
            namespace,
            tokens: request.tokens,
            adapters: request.adapters.into(),
            head: request.head,
            work,
            failure: None,
        });
        self.sequences
            .find_prefix(id, (&mut self.memory, self.runner.blocks()));
        Ok(id)
    }

    fn check_tokens(&self, request: &Request) -> Result<()> {
        let (tokens, vocab) = (&request.tokens, self.runner.spec().vocab_size);
        if tokens.is_empty() {
            return Err(Error::Generation(
                "the prompt is empty; it needs at least one token".to_owned(),
            ));
        }
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab) {
            return Err(Error::Tokenization(format!(
                "token {token} is outside the model's vocabulary of {vocab} tokens"
            )));
        }
        let room = usize::from(matches!(request.task, Task::Generate(_)));
        if tokens.len() + room > self.ground.max_context {
            return Err(Error::Config(format!(
                "the prompt has {} tokens; max_context = {} allows {} here",
                tokens.len(),
                self.ground.max_context,
                self.ground.max_context - room
            )));
        }
        let kv = &self.memory.kv;
        let (needed, total) = (
            kv.groups().least_blocks(tokens.len() + room),
            kv.total_blocks(),
        );
        if needed > total {
            return Err(Error::OutOfMemory(format!(
                "the prompt of {} tokens needs {needed} key-value blocks, the pool has {total}; \
                 raise kv_cache_bytes to at least {}",
                tokens.len(),
                needed * kv.block_bytes()
            )));
        }
        Ok(())
    }

    fn work_of(&self, request: &Request, namespace: &Namespace) -> Result<Work> {
        Ok(match &request.task {
            Task::Logits => Work::Logits(self.room_for_logits(request.tokens.len())?),
            Task::Score { .. } if request.tokens.len() < 2 => {
                return Err(Error::Generation(
                    "scoring needs at least two tokens".to_owned(),
                ));
            }
            Task::Score { top_logprobs } => {
                check_logprobs("top_logprobs", *top_logprobs)?;
                Work::Score(Box::new(Scoring {
                    top_logprobs: *top_logprobs,
                    meter: LogprobMeter::new(Arc::clone(&self.ground.kernels)),
                    scores: Vec::with_capacity(request.tokens.len() - 1),
                    capturing: self.capturing_of(request),
                }))
            }
            Task::Candidates(candidates) => {
                self.check_candidates(candidates, request.tokens.len())?;
                let meter = LogprobMeter::new(Arc::clone(&self.ground.kernels));
                Work::Compare(Box::new(Comparing::new(candidates.clone(), meter)))
            }
            Task::Embed => Work::Embed(vec![0.0; self.runner.spec().hidden_size]),
            Task::Generate(task) => {
                task.sampling.validate(self.runner.spec().vocab_size)?;
                if task.max_tokens == 0 {
                    return Err(Error::Config(
                        "max_tokens = 0; at least 1 is allowed".to_owned(),
                    ));
                }
                self.check_ends(task)?;
                let mut generation =
                    Generation::new(task.clone(), &request.tokens, self.ground.clone());
                generation.capturing = self.capturing_of(request);
                // Nothing is guessed of a single token.
                if task.max_tokens > 1
                    && let Some(prediction) = &task.prediction
                {
                    let is_kept = leaves_traces(request.cache_min_tokens, request.tokens.len());
                    let owner = is_kept.then_some(namespace);
                    let drafts = self.drafts.as_ref();
                    generation.drafting =
                        drafts.map(|drafts| Box::new(drafts.drafting(owner, prediction)));
                }
                Work::Generate(Box::new(generation))
            }
        })
    }

    /// Refuses ends that cannot be, and texts that cannot be known.
    fn check_ends(&self, task: &GenerateTask) -> Result<()> {
        let vocab = self.runner.spec().vocab_size;
        let bounds = &task.bounds;
        if let Some(token) = bounds
            .stop_tokens
            .iter()
            .find(|token| **token as usize >= vocab)
        {
            return Err(Error::Config(format!(
                "stop_token_ids has {token}; the model has {vocab} tokens"
            )));
        }
        if bounds.min_tokens > task.max_tokens {
            return Err(Error::Config(format!(
                "min_tokens is {}; max_tokens = {} allows no more than that",
                bounds.min_tokens, task.max_tokens
            )));
        }
        if bounds.min_tokens > 0 && task.grammar.is_some() {
            return Err(Error::Config(
                "min_tokens goes on past the end of what the grammar allows; set one of them"
                    .to_owned(),
            ));
        }
        let breakers = task.sampling.dry.as_ref();
        for (what, texts) in [
            ("stop strings", &bounds.stop[..]),
            ("bad_words", &bounds.banned),
            (
                "sequence_breakers of dry",
                breakers.map_or(&[], |dry| &dry.sequence_breakers),
            ),
        ] {
            if self.ground.vocabulary.is_none() && !texts.is_empty() {
                return Err(Error::Tokenization(format!(
                    "{what} need a tokenizer, and this model has none"
                )));
            }
        }
        Ok(())
    }

    /// Refuses places that are not in the prompt, or not in order, and tokens that there are not.
    fn check_candidates(&self, candidates: &Candidates, tokens: usize) -> Result<()> {
        let vocab = self.runner.spec().vocab_size;
        let places = &candidates.places;
        let is_rising = places.windows(2).all(|two| two[0].after < two[1].after);
        if !is_rising || places.last().is_none_or(|place| place.after >= tokens) {
            return Err(Error::Generation(format!(
                "candidates stand after tokens 0 to {} of this prompt, in rising order, at one place at \
                 least",
                tokens - 1
            )));
        }
        for place in places {
            if place.tokens.is_empty() {
                return Err(Error::Generation(format!(
                    "there is no candidate after token {}",
                    place.after
                )));
            }
            if let Some(token) = place.tokens.iter().find(|token| **token as usize >= vocab) {
                return Err(Error::Tokenization(format!(
                    "candidate {token} is outside the model's vocabulary of {vocab} tokens"
                )));
            }
        }
        Ok(())
    }

    /// Where what is learned from is kept, if the request wants that.
    fn capturing_of(&self, request: &Request) -> Option<Capturing> {
        let capture = request.capture.clone()?;
        let head = request.head.clone();
        Some(Capturing::new(
            capture,
            Captured::new(self.runner.spec().hidden_size, head),
        ))
    }

    /// Refuses what cannot be learned from, or with.
    fn check_learning(&self, request: &Request) -> Result<()> {
        let width = self.runner.spec().hidden_size;
        if let Some(head) = &request.head
            && head.width() != width
        {
            return Err(Error::Sona(format!(
                "the head adapter is for hidden states of {}; the model's have {width}",
                head.width()
            )));
        }
        if request.capture.is_some()
            && !matches!(request.task, Task::Generate(_) | Task::Score { .. })
        {
            return Err(Error::Sona(
                "what is learned from is kept of generations and scores alone".to_owned(),
            ));
        }
        Ok(())
    }

    /// Room for a row of logits a token, asked for before anything is computed.
    fn room_for_logits(&self, tokens: usize) -> Result<Vec<f32>> {
        let vocab = self.runner.spec().vocab_size;
        let mut room = Vec::new();
        room.try_reserve_exact(tokens.saturating_mul(vocab))
            .map_err(|error| {
                Error::OutOfMemory(format!(
                    "the logits of {tokens} tokens, {vocab} numbers each: {error}"
                ))
            })?;
        Ok(room)
    }
}
