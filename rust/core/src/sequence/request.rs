//! What callers ask for.

use std::sync::Arc;

use super::processing::LogitsProcessor;
use crate::cancel::CancelFlag;
use crate::grammar::{Grammar, Start};
use crate::ids::TokenId;
use crate::learning::{Capture, HeadAdapter};
use crate::lora::AdapterUse;
use crate::sampling::SamplingParams;

/// What a caller wants computed.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt; at least one token.
    pub tokens: Vec<TokenId>,
    /// What to do with it.
    pub task: Task,
    /// How the caller ends it early.
    pub cancel: CancelFlag,
    /// What is added to the model for it, in this order.
    pub adapters: Vec<AdapterUse>,
    /// What is added to its last hidden states before the head: in what is generated, scored and given as logits, not in
    /// embeddings. Keys and values do not depend on it.
    pub head: Option<Arc<HeadAdapter>>,
    /// What is kept of its answer for learning.
    pub capture: Option<Capture>,
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
    /// How likely some tokens are at some places.
    Candidates(Candidates),
    /// The mean of the last hidden states, of unit length.
    Embed,
}

/// Tokens that are measured against each other, without being a part of the prompt.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Where, in rising order; at least one place.
    pub places: Vec<CandidatePlace>,
    /// So many tokens of the beginning stand in other requests too: no more is kept in the prefix cache.
    pub shared_tokens: usize,
}

impl Task {
    /// Candidates as pairs: the index of a token, and what could stand after it.
    pub fn candidates(places: Vec<(usize, Vec<TokenId>)>, shared_tokens: usize) -> Self {
        let places = places.into_iter();
        let places = places.map(|(after, tokens)| CandidatePlace { after, tokens });
        Self::Candidates(Candidates {
            places: places.collect(),
            shared_tokens,
        })
    }
}

/// One place, and what could stand there.
#[derive(Debug, Clone)]
pub struct CandidatePlace {
    /// The index of the token before it.
    pub after: usize,
    /// Which tokens are measured there; at least one.
    pub tokens: Vec<TokenId>,
}

/// How to generate.
#[derive(Debug, Clone)]
pub struct GenerateTask {
    /// How tokens are chosen.
    pub sampling: Box<SamplingParams>,
    /// The seed, resolved.
    pub seed: u64,
    /// At most so many.
    pub max_tokens: usize,
    /// What ends it, and what must not be in it.
    pub bounds: Box<Bounds>,
    /// What the answer must be, and where in it that begins.
    pub grammar: Option<(Arc<Grammar>, Start)>,
    /// How long the model may think before it answers; `None`: as long as it likes.
    pub thinking: Option<Box<ThinkingBudget>>,
    /// Special tokens whose texts are part of the answer's.
    pub keep_special: Vec<String>,
    /// What the answer may be like, for an engine that guesses; `None`: nothing is guessed of it. No token
    /// depends on it.
    pub prediction: Option<Vec<TokenId>>,
    /// Who changes its logits before anything else does.
    pub processor: Option<Arc<dyn LogitsProcessor>>,
}

/// What ends an answer, and what must not be in it.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// Strings that end the text and are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end it and are not part of it.
    pub stop_tokens: Vec<TokenId>,
    /// Before so many tokens none is drawn that ends it.
    pub min_tokens: usize,
    /// Whether end-of-generation tokens are ordinary ones.
    pub ignore_end: bool,
    /// Texts that are nowhere in it, but for what a grammar or a budget forces.
    pub banned: Vec<String>,
}

impl From<(Vec<String>, Vec<TokenId>, usize, bool, Vec<String>)> for Bounds {
    /// Its fields in their order.
    fn from(fields: (Vec<String>, Vec<TokenId>, usize, bool, Vec<String>)) -> Self {
        let (stop, stop_tokens, min_tokens, ignore_end, banned) = fields;
        Self {
            stop,
            stop_tokens,
            min_tokens,
            ignore_end,
            banned,
        }
    }
}

/// How long a model may think, and how its thoughts end.
#[derive(Debug, Clone)]
pub struct ThinkingBudget {
    /// Tokens of thoughts, the marks around them not counted.
    pub tokens: usize,
    /// The mark before thoughts; it may be the prompt's end, or the answer's beginning.
    pub opening: String,
    /// The mark after them.
    pub closing: String,
    /// What ends them when the budget is used up; it has the mark.
    pub closing_tokens: Vec<TokenId>,
}

impl From<(usize, String, String, Vec<TokenId>)> for ThinkingBudget {
    /// Its fields in their order.
    fn from(fields: (usize, String, String, Vec<TokenId>)) -> Self {
        let (tokens, opening, closing, closing_tokens) = fields;
        Self {
            tokens,
            opening,
            closing,
            closing_tokens,
        }
    }
}
