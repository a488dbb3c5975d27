//! Guesses of what an answer goes on with: computed beside its last token, and kept as far as they come true.
//!
//! A row is drawn from as if it stood alone, so a guess decides how many tokens a step gives and never which.
//! What is guessed is a [`Proposer`]'s, how much of it is computed the [`policy`]'s, by what steps were seen to
//! take; what becomes of it in a step is a [`Draft`]'s to say.

mod acceptance;
pub mod automaton;
mod costs;
mod draft;
mod drafting;
mod history;
mod lookup;
mod model_guesses;
pub mod policy;
mod proposer;

use std::sync::Arc;

pub use acceptance::Acceptance;
pub use costs::StepCosts;
pub use draft::Draft;
pub(crate) use drafting::MOST_TAKEN;
pub use drafting::{DraftCounts, Drafting};
pub use history::Histories;
pub use lookup::{Lookup, Lookups};
pub(crate) use model_guesses::{Bet, Prices, bulk_of, is_worth_seconds};
pub use proposer::{Owner, Proposer, Proposers, Support};

use crate::clock::Clock;

/// How an engine guesses.
#[derive(Debug, Clone)]
pub struct Speculation {
    /// Where guesses come from.
    pub proposers: Arc<dyn Proposers>,
    /// How many of them are computed.
    pub lengths: Lengths,
    /// What tells how long steps take: it decides lengths, never tokens.
    pub clock: Arc<dyn Clock>,
}

impl Speculation {
    /// Guesses by looking up what prompt and answer said before, and answers before them, as many as pay.
    pub fn lookup(clock: Arc<dyn Clock>) -> Self {
        Self {
            proposers: Arc::new(Lookups::default()),
            lengths: Lengths::AsPays,
            clock,
        }
    }
}

/// How many guesses a step has of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// As many as pay, up to [`policy::MOST_GUESSES`].
    AsPays,
    /// Always so many, as far as there are any: for tests and measurements.
    Always(usize),
}
