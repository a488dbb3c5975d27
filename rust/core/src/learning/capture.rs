//! What is kept of an answer, so that feedback can be learned from: hidden states and likeliest tokens, in a ring that is
//! bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::head::HeadAdapter;
use crate::ids::TokenId;

/// The likeliest tokens that are kept of each place.
pub const CANDIDATES: usize = 64;

/// What a request asks for: to keep what is needed of the tokens of its answer.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Where to.
    pub ring: Arc<CaptureRing>,
    /// Under which name.
    pub key: String,
    /// Where tokens are given: the first that belongs to the answer.
    pub first: usize,
}

/// Hidden states of an answer before any [`HeadAdapter`], and what the model said there.
#[derive(Debug, Clone)]
pub struct Captured {
    width: usize,
    /// What the states went through before the head.
    head: Option<Arc<HeadAdapter>>,
    /// `[tokens, width]`, f16 bits.
    states: Vec<u16>,
    tokens: Vec<Place>,
    candidates: Vec<(TokenId, f32)>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    token: TokenId,
    logprob: f32,
    /// What a log-probability here lies below its logit.
    log_total: f32,
    /// Where its candidates end.
    end: usize,
}

/// One token of an answer.
#[derive(Debug, Clone, Copy)]
pub struct CapturedToken<'a> {
    /// Which.
    pub token: TokenId,
    /// How likely it was.
    pub logprob: f32,
    /// What a log-probability here lies below its logit.
    pub log_total: f32,
    /// The likeliest tokens with their log-probabilities, best first.
    pub candidates: &'a [(TokenId, f32)],
}

impl Captured {
    /// Nothing yet, of states of that width that go through `head`.
    pub fn new(width: usize, head: Option<Arc<HeadAdapter>>) -> Self {
        Self {
            width,
            head,
            states: Vec::new(),
            tokens: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// Adds a token after the state that it was said in.
    pub fn push(&mut self, state: &[f32], token: CapturedToken<'_>) {
        let first = self.states.len();
        self.states.resize(first + state.len(), 0);
        let halves = self.states[first..].reinterpret_cast_mut::<f16>();
        halves.convert_from_f32_slice(state);
        self.candidates.extend_from_slice(token.candidates);
        self.tokens.push(Place {
            token: token.token,
            logprob: token.logprob,
            log_total: token.log_total,
            end: self.candidates.len(),
        });
    }

    /// Forgets what will be computed again.
    pub fn clear(&mut self) {
        *self = Self::new(self.width, self.head.take());
    }

    /// The hidden size.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What its states went through before the head.
    pub fn head(&self) -> Option<&Arc<HeadAdapter>> {
        self.head.as_ref()
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many candidates all of its tokens have together.
    pub(super) fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// The tokens.
    pub fn tokens(&self) -> impl Iterator<Item = CapturedToken<'_>> {
        let begins = [0]
            .into_iter()
            .chain(self.tokens.iter().map(|place| place.end));
        self.tokens
            .iter()
            .zip(begins)
            .map(|(place, begin)| CapturedToken {
                token: place.token,
                logprob: place.logprob,
                log_total: place.log_total,
                candidates: &self.candidates[begin..place.end],
            })
    }

    /// The states of all, as f32.
    pub fn states(&self, output: &mut Vec<f32>) {
        output.resize(self.states.len(), 0.0);
        let halves = self.states.reinterpret_cast::<f16>();
        halves.convert_to_f32_slice(output);
    }

    /// What it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.states[..])
            + size_of_val(&self.tokens[..])
            + size_of_val(&self.candidates[..])
    }
}

/// Answers that feedback may come for, the oldest first; those that do not fit any more are forgotten.
#[derive(Debug)]
pub struct CaptureRing {
    max_bytes: usize,
    max_tokens: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<(String, Arc<Captured>)>,
    bytes: usize,
}

impl CaptureRing {
    /// At most so many bytes in all, and of each answer so many tokens.
    pub fn new(max_bytes: usize, max_tokens: usize) -> Self {
        Self {
            max_bytes,
            max_tokens,
            kept: Mutex::default(),
        }
    }

    /// Tokens that are kept of an answer, its first.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Keeps an answer; an older one of that name is forgotten, and those for which there is no room.
    pub fn put(&self, key: String, captured: Captured) {
        let bytes = captured.bytes();
        let mut kept = self.lock();
        drop(kept.remove(&key));
        if bytes > self.max_bytes || captured.is_empty() {
            return;
        }
        while kept.bytes + bytes > self.max_bytes
            && let Some((_, oldest)) = kept.answers.pop_front()
        {
            kept.bytes -= oldest.bytes();
        }
        kept.bytes += bytes;
        kept.answers.push_back((key, Arc::new(captured)));
    }

    /// Whether an answer of that name is kept.
    pub fn has(&self, key: &str) -> bool {
        self.lock().answers.iter().any(|(name, _)| name == key)
    }

    /// Takes an answer out.
    pub fn take(&self, key: &str) -> Option<Arc<Captured>> {
        self.lock().remove(key)
    }

    /// Answers that are kept, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let kept = self.lock();
        (kept.answers.len(), kept.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing that could panic stands between two changes that belong together.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, key: &str) -> Option<Arc<Captured>> {
        let place = self.answers.iter().position(|(name, _)| name == key)?;
        let (_, captured) = self.answers.remove(place)?;
        self.bytes -= captured.bytes();
        Some(captured)
    }
}
