//! What an adapter makes of the probabilities at an answer's places: over the chosen candidates and the rest.

use super::choice::Choice;

/// The logits of an answer's pairs without any adapter, and how they are capped.
#[derive(Debug, Default)]
pub(super) struct Measure {
    pub(super) choice: Choice,
    /// Before the cap, a number for each pair.
    base: Vec<f32>,
    base_rest: Vec<f32>,
    cap: Option<f32>,
    /// What they make of the probabilities.
    base_probs: LogProbs,
}

/// What is added to logits: for place `i` and row `v` the sum over `r` of `states[i][r] * rows[v][r]`. The row of the rest
/// stands behind those of the tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Added<'a> {
    pub(super) rank: usize,
    pub(super) states: &'a [f32],
    pub(super) rows: &'a [f32],
}

/// Log-probabilities of pairs and rests.
#[derive(Debug, Default, Clone)]
pub(super) struct LogProbs {
    pub(super) pairs: Vec<f32>,
    pub(super) rest: Vec<f32>,
    /// The probabilities themselves, which are asked for more often than they change.
    pub(super) pair_weights: Vec<f32>,
    pub(super) rest_weights: Vec<f32>,
}

impl Added<'_> {
    /// To the logit of a row at a place.
    pub(super) fn at(&self, place: usize, row: usize) -> f32 {
        let state = &self.states[place * self.rank..][..self.rank];
        let row = &self.rows[row * self.rank..][..self.rank];
        state.iter().zip(row).map(|(state, row)| state * row).sum()
    }
}

impl Measure {
    /// What the choice's logits were without what was added to them.
    pub(super) fn take_base(&mut self, cap: Option<f32>, added: Option<Added<'_>>) {
        let Self {
            choice,
            base,
            base_rest,
            ..
        } = self;
        self.cap = cap;
        base.clear();
        base_rest.clear();
        for (place, pairs) in choice.places().enumerate() {
            let before = |row| added.map_or(0.0, |added| added.at(place, row));
            for pair in &choice.pairs[pairs] {
                base.push(uncapped(pair.logit, cap) - before(pair.row as usize));
            }
            base_rest.push(choice.rest[place] - before(choice.tokens.len()));
        }
        let nothing = Added {
            rank: 0,
            states: &[],
            rows: &[],
        };
        let mut probs = std::mem::take(&mut self.base_probs);
        self.log_probs(nothing, &mut probs);
        self.base_probs = probs;
    }

    /// The log-probabilities with what is added.
    pub(super) fn log_probs(&self, added: Added<'_>, output: &mut LogProbs) {
        let LogProbs {
            pairs,
            rest,
            pair_weights,
            rest_weights,
        } = output;
        pairs.clear();
        rest.clear();
        pair_weights.clear();
        rest_weights.clear();
        let rest_row = self.choice.tokens.len();
        for (place, range) in self.choice.places().enumerate() {
            let first = pairs.len();
            for index in range {
                let row = self.choice.pairs[index].row as usize;
                let raw = self.base[index] + added.at(place, row);
                pairs.push(self.cap.map_or(raw, |cap| cap * (raw / cap).tanh()));
            }
            let of_rest = self.base_rest[place] + added.at(place, rest_row);
            let here = &mut pairs[first..];
            let largest = here.iter().copied().fold(of_rest, f32::max);
            pair_weights.extend(here.iter().map(|logit| (logit - largest).exp()));
            let weights = &mut pair_weights[first..];
            let of_rest_weight = (of_rest - largest).exp();
            let total = weights.iter().sum::<f32>() + of_rest_weight;
            let log_total = largest + total.ln();
            for (logit, weight) in here.iter_mut().zip(weights) {
                *logit -= log_total;
                *weight /= total;
            }
            rest.push(of_rest - log_total);
            rest_weights.push(of_rest_weight / total);
        }
    }

    /// How steeply a pair's capped logit rises with the one before the cap.
    pub(super) fn slope(&self, index: usize, added: f32) -> f32 {
        self.cap.map_or(1.0, |cap| {
            1.0 - ((self.base[index] + added) / cap).tanh().powi(2)
        })
    }

    /// The mean log-probability of the tokens that were said.
    pub(super) fn said(&self, probs: &LogProbs) -> f32 {
        let said = self.choice.said.iter();
        let sum: f64 = said.map(|index| f64::from(probs.pairs[*index])).sum();
        (sum / self.choice.said.len().max(1) as f64) as f32
    }

    /// How far probabilities lie from those without an adapter.
    pub(super) fn drift(&self, probs: &LogProbs) -> f32 {
        self.base_probs.divergence(probs)
    }
}

impl LogProbs {
    /// The mean over the places of how far others lie from these: the Kullback-Leibler divergence, in nats.
    pub(super) fn divergence(&self, to: &Self) -> f32 {
        let part = |weights: &[f32], from: &[f32], to: &[f32]| -> f64 {
            let distances = from.iter().zip(to).map(|(from, to)| from - to);
            let parts = weights.iter().zip(distances);
            parts.map(|(weight, far)| f64::from(weight * far)).sum()
        };
        let sum = part(&self.pair_weights, &self.pairs, &to.pairs)
            + part(&self.rest_weights, &self.rest, &to.rest);
        (sum / self.rest.len().max(1) as f64) as f32
    }
}

/// What a cap made a logit of.
fn uncapped(logit: f32, cap: Option<f32>) -> f32 {
    cap.map_or(logit, |cap| {
        cap * (logit / cap).clamp(-0.999_999, 0.999_999).atanh()
    })
}
