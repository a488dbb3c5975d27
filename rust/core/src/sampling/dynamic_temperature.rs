//! Dynamic temperature (kalomaze, 2023): the surer the model is, the lower the temperature.
//!
//! Between `temperature - range` and `temperature + range`, by the entropy of what filters have kept as the model said it, at
//! a temperature of 1, over the largest that so many tokens could have, to the power of `exponent`.

use super::filters::{Candidate, keep_heavy};
use super::ranges::check;
use super::softmax::Softmax;
use super::surprise::Surprise;
use crate::Result;

/// How far the temperature goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicTemperature {
    /// As far below and above; above 0, at most 100. It never falls below 0.
    pub range: f32,
    /// Above 1 it stays low for longer, below 1 it rises sooner. Above 0, at most 100.
    pub exponent: f32,
}

impl From<(f32, f32)> for DynamicTemperature {
    /// Its fields in their order.
    fn from((range, exponent): (f32, f32)) -> Self {
        Self { range, exponent }
    }
}

impl DynamicTemperature {
    pub(super) fn validate(self) -> Result<()> {
        for (name, value) in [
            ("dynamic_temperature.range", self.range),
            ("dynamic_temperature.exponent", self.exponent),
        ] {
            let is_allowed = value > 0.0 && value <= 100.0;
            check(name, value, is_allowed, "above 0 and at most 100")?;
        }
        Ok(())
    }

    /// Weighs candidates anew, at least one, around a temperature; the order stays.
    pub(super) fn weigh(self, candidates: &mut Vec<Candidate>, logits: &[f32], temperature: f32) {
        if candidates.len() < 2 {
            return;
        }
        let of_logits = candidates.iter().map(|c| logits[c.token as usize]);
        let best = of_logits.fold(f32::NEG_INFINITY, f32::max);
        let expected = Surprise::among(candidates, logits, Softmax::new(best, 1.0)).mean;
        let unsure = (expected / (candidates.len() as f64).ln()).clamp(0.0, 1.0);
        let lowest = (temperature - self.range).max(0.0);
        let rise = unsure.powf(f64::from(self.exponent)) as f32;
        let softmax = Softmax::new(best, lowest + (temperature + self.range - lowest) * rise);
        for candidate in candidates.iter_mut() {
            candidate.weight = softmax.weight(logits[candidate.token as usize]);
        }
        keep_heavy(candidates, 0.0);
    }
}
