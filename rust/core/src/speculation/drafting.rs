//! One answer's guesses: who makes them, and how good they have been.

use super::acceptance::Acceptance;
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
            counts: DraftCounts::default(),
        }
    }

    /// Takes in what is new of prediction, prompt and answer, and learns whether it was guessed: up to `room` tokens,
    /// which are taken off.
    pub fn follow(&mut self, tokens: &[TokenId], prompt_tokens: usize, room: &mut usize) {
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

    /// What may come behind so many tokens; nothing where not all of them were taken in yet.
    pub fn guesses(&self, tokens: usize, most: usize) -> &[TokenId] {
        let is_ready = self.seen == tokens && self.support.is_some();
        let count = if is_ready {
            self.guesses.len().min(most)
        } else {
            0
        };
        &self.guesses[..count]
    }

    /// How likely so many of them are, one after the other.
    pub fn chances(&self, count: usize, chances: &mut Vec<f64>) {
        if let Some(support) = self.support {
            self.acceptance.chances(support, count, chances);
        }
    }
}
