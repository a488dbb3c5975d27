//! One request's tokens, and what becomes of the rows that are computed for it.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use crate::cancel::CancelFlag;
use crate::events::FinishReason;
use crate::ids::{SequenceId, TokenId};
use crate::kv::BlockRef;
use crate::memory::Tenant;
use crate::model::rope::RopeRegime;
use crate::prefix::MissReason;
use crate::prefix::radix_tree::NodeId;
use crate::sampling::{Sampler, SamplingParams, TokenLogprobs};
use crate::text::{Detokenizer, StopMatcher, Vocabulary};

/// What a caller wants computed.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt; at least one token.
    pub tokens: Vec<TokenId>,
    /// What to do with it.
    pub task: Task,
    /// How the caller ends it early.
    pub cancel: CancelFlag,
    /// On whose account, and whose prefixes; empty for nobody in particular.
    pub tenant: String,
    /// Prompts from this length on are looked up in the prefix cache and kept there; `None`: never.
    pub cache_min_tokens: Option<usize>,
}

/// The kinds of work.
#[derive(Debug, Clone)]
pub enum Task {
    /// Generate tokens after the prompt.
    Generate(GenerateTask),
    /// The logits of every token of the prompt.
    Logits,
    /// How likely every token but the first is after those before it.
    Score {
        /// The likeliest tokens to name at each place, up to [`SamplingParams::MAXIMUM_LOGPROBS`].
        top_logprobs: usize,
    },
    /// The mean of the last hidden states, of unit length.
    Embed,
}

/// How to generate.
#[derive(Debug, Clone)]
pub struct GenerateTask {
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// The seed, resolved.
    pub seed: u64,
    /// At most so many.
    pub max_tokens: usize,
    /// Strings that end the text and are not part of it.
    pub stop: Vec<String>,
    /// Whether end-of-generation tokens are ordinary ones.
    pub ignore_end: bool,
}

/// A request inside the engine.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    pub(crate) cancel: CancelFlag,
    /// The prompt, then what was generated.
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) prompt_tokens: usize,
    /// Tokens whose keys and values are in `blocks`.
    pub(crate) computed: usize,
    pub(crate) blocks: Vec<BlockRef>,
    /// Keeps what was found or made known in the prefix cache.
    pub(crate) pin: Option<NodeId>,
    /// Tokens that are known there.
    pub(crate) kept: usize,
    /// Whether the figures of the first lookup are taken.
    pub(crate) is_looked_up: bool,
    /// Tokens of the prompt that were found there.
    pub(crate) cached: usize,
    /// Why none was.
    pub(crate) cache_miss: Option<MissReason>,
    /// `None` where nothing is to be looked up or kept.
    pub(crate) cache_min_tokens: Option<usize>,
    /// Another sequence that computes the first so many tokens, for both.
    pub(crate) follows: Option<(SequenceId, usize)>,
    /// Set while it is set aside.
    pub(crate) paused: Option<Paused>,
    pub(crate) tenant: Option<Arc<Tenant>>,
    pub(crate) tenant_name: String,
    /// Under which rotary frequencies `computed` tokens were computed.
    pub(crate) regimes: Vec<RopeRegime>,
    pub(crate) work: Work,
}

/// What is kept of a sequence that is set aside.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    /// Tokens whose keys and values are in `bytes`; 0 where they are to be computed anew.
    pub(crate) computed: usize,
    /// Whole blocks, one after the other.
    pub(crate) bytes: Vec<u8>,
}

/// What becomes of a sequence's rows.
#[derive(Debug)]
pub(crate) enum Work {
    Generate(Box<Generation>),
    Logits(Vec<f32>),
    Score(Scoring),
    Embed(Vec<f32>),
}

/// The tokens that are measured so far, after the first.
#[derive(Debug)]
pub(crate) struct Scoring {
    pub(crate) top_logprobs: usize,
    pub(crate) scores: Vec<TokenLogprobs>,
}

impl Work {
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

/// A generation in progress.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) sampler: Sampler,
    pub(crate) max_tokens: usize,
    pub(crate) generated: usize,
    ignore_end: bool,
    text: Option<TextOut>,
}

#[derive(Debug)]
struct TextOut {
    detokenizer: Detokenizer,
    stop: StopMatcher,
}

/// What a chosen token led to.
pub(crate) struct Accepted {
    /// Whether it belongs to the answer: an end-of-generation token does not.
    pub(crate) is_part: bool,
    pub(crate) text: String,
    pub(crate) finish: Option<FinishReason>,
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
        let text = vocabulary.map(|vocabulary| TextOut {
            detokenizer: Detokenizer::new(vocabulary, true),
            stop: StopMatcher::new(&task.stop),
        });
        Self {
            sampler,
            max_tokens: task.max_tokens,
            generated: 0,
            ignore_end: task.ignore_end,
            text,
        }
    }

    /// Takes a chosen token in; `room` is how many more positions the context has after it.
    pub(crate) fn accept(
        &mut self,
        token: TokenId,
        end_tokens: &[TokenId],
        room: usize,
    ) -> Accepted {
        if !self.ignore_end && end_tokens.contains(&token) {
            return Accepted {
                is_part: false,
                text: String::new(),
                finish: Some(FinishReason::Stop),
            };
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
        let finish = match (stopped, full) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        Accepted {
            is_part: true,
            text,
            finish,
        }
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

impl Sequence {
    /// Tokens that the next steps must compute.
    pub(crate) fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    pub(crate) fn generated(&self) -> usize {
        match &self.work {
            Work::Generate(generation) => generation.generated,
            _ => 0,
        }
    }
}
