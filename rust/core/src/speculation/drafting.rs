//! One answer's guesses: who makes them, and how good they have been.

use super::acceptance::Acceptance;
use super::model_guesses::ModelGuesses;
use super::policy::MOST_GUESSES;
use super::proposer::{Proposer, Support};
use crate::ids::TokenId;

/// Tokens that are taken in beside a step, all answers together: a long prompt that was found in a cache, or a long
/// prediction, holds nobody up.
pub(crate) const MOST_TAKEN: usize = 4096;
/// What an answer takes in whatever others do: what a step gives it.
const ALWAYS_TAKEN: usize = MOST_GUESSES + 1;

/// Guesses that were computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DraftCounts {
    /// All of them.
    pub drafted: usize,
    /// Those that came true.
    pub accepted: usize,
}

impl DraftCounts {
    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.drafted += other.drafted;
        self.accepted += other.accepted;
    }
}

/// The guesses of one answer.
#[derive(Debug)]
pub struct Drafting {
    proposer: Box<dyn Proposer>,
    acceptance: Acceptance,
    /// Tokens of prompt and answer that the proposer has seen.
    seen: usize,
    /// What it guesses of the next ones.
    guesses: Vec<TokenId>,
    /// Upon what that rests; `None` where there is none.
    support: Option<Support>,
    /// What a draft model guesses of them.
    model: ModelGuesses,
    pub(crate) counts: DraftCounts,
}

impl Drafting {
    /// Of an answer to come.
    pub fn new(proposer: Box<dyn Proposer>) -> Self {
        Self {
            proposer,
            acceptance: Acceptance::default(),
            seen: 0,
            guesses: Vec::with_capacity(MOST_GUESSES),
            support: None,
            model: ModelGuesses::default(),
            counts: DraftCounts::default(),
        }
    }

    /// Takes in what is new of prediction, prompt and answer, and learns whether it was guessed: up to `room` tokens,
    /// which are taken off.
    pub fn follow(&mut self, tokens: &[TokenId], prompt_tokens: usize, room: &mut usize) {
        self.model.learn(tokens, &mut self.acceptance);
        if !self.proposer.catch_up(room) {
            return;
        }
        let end = tokens.len().min(self.seen + (*room).max(ALWAYS_TAKEN));
        *room = room.saturating_sub(end - self.seen);
        for (place, token) in tokens.iter().enumerate().take(end).skip(self.seen) {
            if place >= prompt_tokens {
                self.guess();
                if let (Some(support), Some(guess)) = (self.support, self.guesses.first()) {
                    self.acceptance.learn(support, guess == token);
                }
            }
            self.proposer.observe(*token);
        }
        self.seen = end;
        self.guess();
    }

    fn guess(&mut self) {
        self.guesses.clear();
        self.support = self.proposer.propose(MOST_GUESSES, &mut self.guesses);
    }

    /// What may come behind so many tokens: what a draft model guesses, or what was looked up, whichever is to give more;
    /// nothing where not all of them were taken in yet.
    pub fn guesses(&self, tokens: usize, most: usize) -> &[TokenId] {
        let guesses = if self.is_model_better(tokens) {
            self.model.of(tokens)
        } else {
            self.found(tokens)
        };
        &guesses[..guesses.len().min(most)]
    }

    /// How likely so many of these are, one after the other.
    pub fn chances(&self, tokens: usize, count: usize, chances: &mut Vec<f64>) {
        if self.is_model_better(tokens) {
            self.model.chances(&self.acceptance, count, chances);
        } else if let Some(support) = self.support {
            self.acceptance.chances(support, count, chances);
        }
    }

    /// What was looked up, once all tokens were taken in.
    fn found(&self, tokens: usize) -> &[TokenId] {
        if self.seen == tokens && self.support.is_some() {
            &self.guesses
        } else {
            &[]
        }
    }

    /// The same whatever of it is wanted.
    fn is_model_better(&self, tokens: usize) -> bool {
        let made = self.model.of(tokens).len();
        if made == 0 {
            return false;
        }
        let (mut by_model, mut by_text) = (Vec::new(), Vec::new());
        self.model.chances(&self.acceptance, made, &mut by_model);
        if let Some(support) = self.support {
            let found = self.found(tokens).len();
            self.acceptance.chances(support, found, &mut by_text);
        }
        by_model.iter().sum::<f64>() >= by_text.iter().sum()
    }

    /// Adds what a draft model guesses `ahead` of the next token, behind so many tokens, and how likely it thinks that.
    pub fn add_model_guess(&mut self, tokens: usize, ahead: usize, guess: Option<(TokenId, f32)>) {
        self.model.add(tokens, ahead, guess);
    }

    /// A draft model's guess `ahead` of the next one behind so many tokens, if it is the last one so far, and how likely it
    /// is that all of them come true.
    pub fn model_guess(&self, tokens: usize, ahead: usize) -> Option<(TokenId, f64)> {
        let guesses = self.model.of(tokens);
        let last = *guesses.get(ahead).filter(|_| guesses.len() == ahead + 1)?;
        Some((last, self.model.chance(&self.acceptance)))
    }

    /// How likely a draft model's next guess is, before it is made.
    pub fn expected_of_model(&self) -> f64 {
        self.model.expected()
    }

    /// How likely the first guess that was looked up comes true.
    pub fn chance_of_lookup(&self, tokens: usize) -> f64 {
        let is_ready = self.seen == tokens && !self.guesses.is_empty();
        self.support
            .filter(|_| is_ready)
            .map_or(0.0, |support| self.acceptance.of(support))
    }
}
