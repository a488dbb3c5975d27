//! How surprising each of some tokens is: -ln p, in nats.

use super::filters::Candidate;
use super::softmax::Softmax;

/// What tokens have in common of which one is to be drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surprise {
    softmax: Softmax,
    log_total: f64,
    /// What is to be expected, the entropy.
    pub(super) mean: f64,
}

impl Surprise {
    /// Of candidates, at least one, at the temperature of `softmax`, whatever their weights are.
    pub(super) fn among(candidates: &[Candidate], logits: &[f32], softmax: Softmax) -> Self {
        let (mut total, mut sum) = (0.0, 0.0);
        for candidate in candidates {
            let logit = logits[candidate.token as usize];
            let weight = f64::from(softmax.weight(logit));
            total += weight;
            sum += weight * f64::from(softmax.exponent(logit));
        }
        let log_total = f64::ln(total);
        Self {
            softmax,
            log_total,
            mean: log_total - sum / total,
        }
    }

    /// Of a token with this logit.
    pub(super) fn of(&self, logit: f32) -> f64 {
        self.log_total - f64::from(self.softmax.exponent(logit))
    }
}
