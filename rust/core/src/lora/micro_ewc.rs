//! Elastic weight consolidation: what was important to an earlier task is held fast.
//!
//! The penalty is `lambda / 2 * sum of fisher * (weight - optimal)^2`, which a step of `rate` reduces with the step that
//! solves it exactly (the proximal one): `weight + (optimal - weight) * share` with
//! `share = rate * lambda * fisher / (1 + rate * lambda * fisher)`. For a small share that is the gradient's own step; a
//! large one ends at the optimum, where the gradient's would leap over it and away. Without importance it is no step at all.

use crate::error::{Error, Result};

use super::micro_map::{Halves, MicroMap, is_finite};

/// What holds the matrices of one map.
#[derive(Debug, Clone, Copy)]
pub struct EwcTerm<'a> {
    /// Which map.
    pub place: usize,
    /// How much is made of all of it; 0 or more.
    pub lambda: f32,
    /// How important each number of A was, `[rank, inputs]`, and of B turned over, `[rank, outputs]`.
    pub fisher: (&'a [f32], &'a [f32]),
    /// What they were when the task was learned, likewise.
    pub optimal: (&'a [f32], &'a [f32]),
}

impl EwcTerm<'_> {
    /// Refuses what does not fit the map, or is no importance.
    pub(super) fn check(&self, map: &MicroMap, Halves { a, b }: &Halves) -> Result<()> {
        if !(self.lambda >= 0.0 && self.lambda.is_finite()) {
            return Err(Error::Config(format!(
                "ewc_lambda is {}; it must be 0 or more and finite",
                self.lambda
            )));
        }
        for (name, found, wanted) in [
            ("fisher_a", self.fisher.0, a),
            ("fisher_b", self.fisher.1, b),
            ("optimal_a", self.optimal.0, a),
            ("optimal_b", self.optimal.1, b),
        ] {
            map.check_length(name, found.len(), wanted.len())?;
            let is_importance = name.starts_with("fisher");
            if !is_finite(found) || is_importance && found.iter().any(|value| *value < 0.0) {
                let allowed = if is_importance { ", 0 or more" } else { "" };
                return Err(Error::Config(format!(
                    "{name} of {} has values that are not finite{allowed}",
                    map.name
                )));
            }
        }
        Ok(())
    }

    /// The penalty's step.
    pub(super) fn pull(&self, learning_rate: f32, weights: &mut Halves) {
        let rate = f64::from(learning_rate) * f64::from(self.lambda);
        for (weights, fisher, optimal) in [
            (&mut weights.a, self.fisher.0, self.optimal.0),
            (&mut weights.b, self.fisher.1, self.optimal.1),
        ] {
            for ((weight, fisher), optimal) in weights.iter_mut().zip(fisher).zip(optimal) {
                let pull = rate * f64::from(*fisher);
                let share = pull / (1.0 + pull);
                let current = f64::from(*weight);
                *weight = (current + (f64::from(*optimal) - current) * share) as f32;
            }
        }
    }
}
