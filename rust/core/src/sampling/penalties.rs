//! Bias and penalties: the steps that change logits by what was seen.
//!
//! Only biased and seen tokens are touched, so the cost grows with the text and not with the
//! vocabulary.

use std::collections::HashMap;

use super::changes::Changes;
use super::params::SamplingParams;
use crate::ids::TokenId;

/// A token of the prompt or of the answer, and how often the answer has it.
#[derive(Debug, Clone)]
struct Seen {
    token: TokenId,
    generated: u32,
}

/// The tokens of one request so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Penalties {
    seen: Vec<Seen>,
    places: HashMap<TokenId, usize>,
}

impl Penalties {
    /// Counts one token; nothing is kept that `params` would never ask for.
    pub(super) fn observe(&mut self, params: &SamplingParams, token: TokenId, generated: bool) {
        let repetition = params.repetition_penalty != 1.0;
        let counted = params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
        if !(repetition || generated && counted) {
            return;
        }
        let place = *self.places.entry(token).or_insert_with(|| {
            self.seen.push(Seen {
                token,
                generated: 0,
            });
            self.seen.len() - 1
        });
        if generated {
            self.seen[place].generated = self.seen[place].generated.saturating_add(1);
        }
    }

    /// Bias first, then repetition, then presence and frequency.
    pub(super) fn apply(&self, params: &SamplingParams, logits: &mut [f32], changes: &mut Changes) {
        for &(token, bias) in &params.logit_bias {
            changes.make(logits, token, |logit| logit + bias);
        }
        for seen in &self.seen {
            changes.make(logits, seen.token, |logit| {
                penalized(params, seen.generated, logit)
            });
        }
    }
}

/// One seen token's logit after its penalties; a finite one stays finite, since some callers
/// mask with the least finite number.
fn penalized(params: &SamplingParams, generated: u32, logit: f32) -> f32 {
    if !logit.is_finite() {
        return logit;
    }
    let repeated = if logit > 0.0 {
        logit / params.repetition_penalty
    } else {
        logit * params.repetition_penalty
    };
    let counted = if generated == 0 {
        0.0
    } else {
        params.presence_penalty + params.frequency_penalty * generated as f32
    };
    (repeated - counted).clamp(f32::MIN, f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(repetition: f32, presence: f32, frequency: f32) -> SamplingParams {
        SamplingParams {
            repetition_penalty: repetition,
            presence_penalty: presence,
            frequency_penalty: frequency,
            ..SamplingParams::default()
        }
    }

    #[test]
    fn each_penalty_counts_what_it_should() {
        let mut params = params(2.0, 0.5, 0.25);
        params.logit_bias = vec![(3, 10.0), (0, -1.0)];
        let (mut penalties, mut changes) = (Penalties::default(), Changes::default());
        for (token, generated) in [(0, false), (1, true), (1, true), (2, false), (2, true)] {
            penalties.observe(&params, token, generated);
        }
        let before = [5.0, 3.0, -1.0, 0.5, 7.0];
        let mut logits = before;
        penalties.apply(&params, &mut logits, &mut changes);
        assert_eq!(
            logits,
            [
                (5.0 - 1.0) / 2.0,            // bias, then a prompt token's repetition
                3.0 / 2.0 - 0.5 - 2.0 * 0.25, // twice in the answer
                -2.0 - 0.5 - 0.25,            // once in each; negative logits grow away
                10.5,
                7.0,
            ]
        );
        changes.take_back(&mut logits);
        assert_eq!(logits, before);
    }

    #[test]
    fn neutral_penalties_keep_nothing() {
        let mut penalties = Penalties::default();
        penalties.observe(&params(1.0, 0.0, 0.0), 3, true);
        penalties.observe(&params(1.0, 0.5, 0.0), 3, false);
        assert!(penalties.seen.is_empty());
    }

    #[test]
    fn masked_and_infinite_logits_stay_so() {
        let params = params(1.3, 2.0, 2.0);
        let (mut penalties, mut changes) = (Penalties::default(), Changes::default());
        for token in 0..3 {
            penalties.observe(&params, token, true);
        }
        penalties.observe(&params, 1000, true);
        let mut logits = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN];
        penalties.apply(&params, &mut logits, &mut changes);
        assert_eq!(logits[..2], [f32::NEG_INFINITY, f32::INFINITY]);
        assert!(logits[2].is_nan());
        let mut finite = [f32::MIN, 1.0, f32::MAX];
        changes.take_back(&mut logits);
        penalties.apply(&params, &mut finite, &mut changes);
        assert!(finite[0] == f32::MIN && finite[2].is_finite());
    }

    #[test]
    fn the_same_token_biased_and_seen_comes_back_exactly() {
        let mut params = params(1.7, 0.0, 0.0);
        params.logit_bias = vec![(0, 33.3), (0, 0.1)];
        let (mut penalties, mut changes) = (Penalties::default(), Changes::default());
        penalties.observe(&params, 0, false);
        let mut logits = [0.123_456_79];
        penalties.apply(&params, &mut logits, &mut changes);
        changes.take_back(&mut logits);
        assert_eq!(logits, [0.123_456_79]);
    }
}
