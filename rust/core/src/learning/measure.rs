//! What an adapter makes of the probabilities at an answer's places: over the chosen candidates and the rest.

use ruvllm_kernels::Kernels;

use super::choice::Choice;
use crate::lora::MAX_RANK;

/// What an adapter makes of a state or of a row of the head: a number for each rank, 0 behind the last.
pub(super) type Reduced = [f32; MAX_RANK];

/// The logits of an answer's candidates without any adapter, and how they are capped.
#[derive(Debug, Default)]
pub(super) struct Measure {
    pub(super) choice: Choice,
    /// Before the cap, a number for each candidate.
    base: Vec<f32>,
    cap: Option<f32>,
    /// What they make of the probabilities.
    base_probs: Probs,
}

/// What is added to logits: for place `i` and row `v` the product of `states[i]` and `rows[v]`. The row of the rest
/// stands behind those of the tokens.
#[derive(Debug, Default, Clone)]
pub(super) struct Added {
    pub(super) states: Vec<Reduced>,
    pub(super) rows: Vec<Reduced>,
}

/// Probabilities of all candidates, and their logarithms.
#[derive(Debug, Default)]
pub(super) struct Probs {
    pub(super) logs: Vec<f32>,
    pub(super) shares: Vec<f32>,
}

pub(super) fn product(one: Reduced, other: Reduced) -> f32 {
    let mut sum = 0.0;
    for rank in 0..MAX_RANK {
        sum += one[rank] * other[rank];
    }
    sum
}

impl Measure {
    /// What the choice's logits were without what was added to them.
    pub(super) fn take_base(
        &mut self,
        kernels: &dyn Kernels,
        cap: Option<f32>,
        added: Option<&Added>,
    ) {
        self.cap = cap;
        let mut base = std::mem::take(&mut self.base);
        base.clone_from(&self.choice.logits);
        if let Some(cap) = cap {
            for candidates in self.choice.places() {
                let of_rest = candidates.end - 1;
                for logit in &mut base[candidates.start..of_rest] {
                    *logit = uncapped(*logit, cap);
                }
            }
        }
        if let Some(added) = added {
            self.each(|place, row, index| {
                base[index] -= product(added.states[place], added.rows[row]);
            });
        }
        let mut probs = std::mem::take(&mut self.base_probs);
        self.probs(kernels, &base, &mut probs);
        (self.base, self.base_probs) = (base, probs);
    }

    /// The logits before the cap with what is added.
    pub(super) fn raw(&self, added: &Added) -> Vec<f32> {
        let mut raw = self.base.clone();
        self.each(|place, row, index| {
            raw[index] += product(added.states[place], added.rows[row]);
        });
        raw
    }

    /// What logits before the cap make of the probabilities.
    pub(super) fn probs(&self, kernels: &dyn Kernels, raw: &[f32], output: &mut Probs) {
        output.logs.resize(raw.len(), 0.0);
        output.shares.resize(raw.len(), 0.0);
        let mut capped = Vec::new();
        for candidates in self.choice.places() {
            let mut logits = &raw[candidates.clone()];
            if let Some(cap) = self.cap {
                capped.clear();
                capped.extend_from_slice(logits);
                kernels.soft_cap(&mut capped[..logits.len() - 1], cap);
                logits = &capped;
            }
            let logs = &mut output.logs[candidates.clone()];
            kernels.log_softmax(logits, logs, &mut output.shares[candidates]);
        }
    }

    /// How steeply each capped logit rises with the one before the cap; the rest has no cap.
    pub(super) fn slopes(&self, kernels: &dyn Kernels, raw: &[f32]) -> Vec<f32> {
        let mut slopes = vec![1.0; raw.len()];
        let Some(cap) = self.cap else {
            return slopes;
        };
        for candidates in self.choice.places() {
            let tokens = candidates.start..candidates.end - 1;
            let slopes = &mut slopes[tokens.clone()];
            slopes.copy_from_slice(&raw[tokens]);
            kernels.soft_cap(slopes, cap);
            for slope in slopes {
                *slope = 1.0 - (*slope / cap).powi(2);
            }
        }
        slopes
    }

    /// Calls `each` with the place, the row and the index of each candidate.
    pub(super) fn each(&self, mut each: impl FnMut(usize, usize, usize)) {
        for (place, candidates) in self.choice.places().enumerate() {
            for index in candidates {
                each(place, self.choice.rows[index] as usize, index);
            }
        }
    }

    /// The mean log-probability of the tokens that were said.
    pub(super) fn said(&self, probs: &Probs) -> f32 {
        let said = self.choice.said().map(|index| f64::from(probs.logs[index]));
        (said.sum::<f64>() / self.places() as f64) as f32
    }

    /// The mean over the places of how far probabilities lie from others: the Kullback-Leibler divergence, in nats.
    pub(super) fn divergence(&self, from: &Probs, to: &Probs) -> f32 {
        (weighted_gaps(&from.shares, &from.logs, &to.logs) / self.places() as f64) as f32
    }

    /// How far probabilities lie from those without an adapter.
    pub(super) fn drift(&self, probs: &Probs) -> f32 {
        self.divergence(&self.base_probs, probs)
    }

    /// How many places, at least 1.
    pub(super) fn places(&self) -> usize {
        self.choice.ends.len().max(1)
    }
}

/// Terms that are added up in f32.
const TERMS: usize = 512;
/// Terms that are added up apart from one another, so that the compiler uses lanes.
const LANES: usize = 16;

/// The sum of `weights * (from - to)`.
fn weighted_gaps(weights: &[f32], from: &[f32], to: &[f32]) -> f64 {
    let chunks = from.chunks(TERMS).zip(to.chunks(TERMS));
    let mut total = 0.0;
    for (weights, (from, to)) in weights.chunks(TERMS).zip(chunks) {
        let mut sums = [0.0f32; LANES];
        let chunks = from.chunks(LANES).zip(to.chunks(LANES));
        for (weights, (from, to)) in weights.chunks(LANES).zip(chunks) {
            let gaps = from.iter().zip(to).map(|(from, to)| from - to);
            for (sum, (weight, gap)) in sums.iter_mut().zip(weights.iter().zip(gaps)) {
                *sum += weight * gap;
            }
        }
        total += sums.into_iter().map(f64::from).sum::<f64>();
    }
    total
}

/// What a cap made a logit of.
fn uncapped(logit: f32, cap: f32) -> f32 {
    cap * (logit / cap).clamp(-0.999_999, 0.999_999).atanh()
}
