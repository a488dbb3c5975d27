//! XTC, "exclude top choices" (Philipp Emanuel Weidmann, 2024): now and then the likeliest tokens are left out, where
//! there are others that will do.

use super::filters::{Candidate, mass};
use super::ranges::check;
use crate::Result;

/// How often that happens, and what is likely enough to be left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Xtc {
    /// How often; above 0, at most 1.
    pub probability: f32,
    /// All tokens at least so likely but the least likely of them are left out. 0 to 1; above a half nothing ever is.
    pub threshold: f32,
}

impl From<(f32, f32)> for Xtc {
    /// Its fields in their order.
    fn from((probability, threshold): (f32, f32)) -> Self {
        Self {
            probability,
            threshold,
        }
    }
}

impl Xtc {
    pub(super) fn validate(self) -> Result<()> {
        check(
            "xtc.probability",
            self.probability,
            self.probability > 0.0 && self.probability <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "xtc.threshold",
            self.threshold,
            (0.0..=1.0).contains(&self.threshold),
            "between 0 and 1",
        )
    }

    /// Leaves out the likeliest; the order stays. `unit` is random, in `[0, 1)`.
    pub(super) fn leave_out(self, candidates: &mut Vec<Candidate>, unit: f64) {
        if unit >= f64::from(self.probability) {
            return;
        }
        let likely = f64::from(self.threshold) * mass(candidates);
        let likely = candidates
            .iter()
            .filter(|candidate| f64::from(candidate.weight) >= likely);
        if let Some(least) = likely.map(Candidate::rank).max() {
            candidates.retain(|candidate| candidate.rank() >= least);
        }
    }
}
