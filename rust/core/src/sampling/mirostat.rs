//! Mirostat 2 (Basu, Ramachandran, Keskar and Varshney, 2021): answers as surprising as is asked for, token by token.
//!
//! Tokens more surprising than a bound are left out, and the bound follows what was drawn. Surprise is in bits, of what is
//! left to be drawn from, as llama.cpp has it. Only draws move the bound: a token that nobody chose does not.

use super::filters::{Candidate, mass};
use super::ranges::check;
use crate::Result;
use crate::ids::TokenId;

/// How surprising an answer is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mirostat {
    /// So many bits a token, on the average. 0 to 100.
    pub tau: f32,
    /// How fast the bound follows. 0 to 1.
    pub eta: f32,
}

impl From<(f32, f32)> for Mirostat {
    /// Its fields in their order.
    fn from((tau, eta): (f32, f32)) -> Self {
        Self { tau, eta }
    }
}

impl Mirostat {
    pub(super) fn validate(self) -> Result<()> {
        check(
            "mirostat.tau",
            self.tau,
            (0.0..=100.0).contains(&self.tau),
            "between 0 and 100",
        )?;
        check(
            "mirostat.eta",
            self.eta,
            (0.0..=1.0).contains(&self.eta),
            "between 0 and 1",
        )
    }
}

/// The bound of one answer, after the draws so far.
#[derive(Debug, Clone)]
pub(super) struct SurpriseBound {
    mirostat: Mirostat,
    bits: f64,
}

impl SurpriseBound {
    /// Before the first draw.
    pub(super) fn new(mirostat: Mirostat) -> Self {
        Self {
            mirostat,
            bits: 2.0 * f64::from(mirostat.tau),
        }
    }

    /// Keeps what is not more surprising, at least the likeliest; the order stays.
    pub(super) fn keep(&self, candidates: &mut Vec<Candidate>) {
        let least = mass(candidates) * (-self.bits).exp2();
        let best = candidates.iter().map(Candidate::rank).min();
        candidates.retain(|candidate| {
            f64::from(candidate.weight) >= least || Some(candidate.rank()) == best
        });
    }

    /// One of the candidates was drawn.
    pub(super) fn follow(&mut self, candidates: &[Candidate], token: TokenId) {
        if let Some(drawn) = candidates.iter().find(|candidate| candidate.token == token) {
            let surprise = (mass(candidates) / f64::from(drawn.weight)).log2();
            let error = surprise - f64::from(self.mirostat.tau);
            self.bits -= f64::from(self.mirostat.eta) * error;
        }
    }
}
