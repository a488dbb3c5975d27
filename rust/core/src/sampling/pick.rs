//! The choice itself: the most likely token, or a draw.
//!
//! A draw takes one uniform number and finds the token at which the weights, summed in order
//! of id, pass it. The order is fixed, so a seed fixes the tokens; and it is the same with and
//! without filters, so a filter that takes nothing away changes nothing.

use super::filters::{Candidate, mass};
use super::softmax::{BLOCK, Blocks, Softmax};
use crate::ids::TokenId;

/// The token of the largest logit, the lowest id among equal ones. `blocks` has scanned
/// `logits` and found some that can be chosen.
pub(super) fn argmax(logits: &[f32], blocks: &Blocks) -> TokenId {
    let is_maximum = |&value: &f32| value == blocks.maximum;
    let start = blocks.maxima.iter().position(is_maximum).unwrap_or(0) * BLOCK;
    let offset = logits[start..].iter().position(is_maximum).unwrap_or(0);
    (start + offset) as TokenId
}

/// Draws among candidates that have weights, none of them 0; there is at least one. `unit` is
/// in `[0, 1)`.
pub(super) fn draw(candidates: &[Candidate], unit: f64) -> TokenId {
    let mut needed = unit * mass(candidates);
    let mut last = 0;
    for candidate in candidates {
        last = candidate.token;
        needed -= f64::from(candidate.weight);
        if needed < 0.0 {
            break;
        }
    }
    last
}

/// Draws from the whole vocabulary. `unit` is in `[0, 1)`.
pub(super) fn draw_from_all(
    logits: &[f32],
    blocks: &mut Blocks,
    softmax: Softmax,
    unit: f64,
) -> TokenId {
    let mut needed = unit * softmax.total(logits, blocks);
    let mut last = 0;
    for (block, &sum) in blocks.sums.iter().enumerate() {
        if sum == 0.0 {
            continue;
        }
        last = block;
        if needed < f64::from(sum) {
            break;
        }
        needed -= f64::from(sum);
    }
    // Where rounding leaves more needed than there is, the last token that weighs anything.
    let start = last * BLOCK;
    let mut drawn = argmax(logits, blocks);
    for (token, &logit) in (start..).zip(logits[start..].iter().take(BLOCK)) {
        let weight = f64::from(softmax.weight(logit));
        if weight > 0.0 {
            drawn = token as TokenId;
            needed -= weight;
            if needed < 0.0 {
                break;
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(logits: &[f32]) -> Blocks {
        let mut blocks = Blocks::default();
        assert!(blocks.scan(logits));
        blocks
    }

    #[test]
    fn argmax_takes_the_lowest_of_equals_anywhere() {
        for length in [1, 15, 16, 17, 64, 65, 200] {
            for place in 0..length {
                let mut logits = vec![f32::NAN; length];
                logits[place..].fill(-1.0);
                assert_eq!(argmax(&logits, &scanned(&logits)), place as TokenId);
            }
        }
        let zeros = [-0.0, 0.0];
        assert_eq!(argmax(&zeros, &scanned(&zeros)), 0);
    }

    #[test]
    fn draws_find_the_borders_of_the_weights() {
        // Weights 1/2, 0, 1, 1/2 of 2, by id.
        let logits = [-2.0_f32.ln(), f32::NEG_INFINITY, 0.0, -2.0_f32.ln()];
        let by_id = |unit: f64| {
            let softmax = Softmax::new(0.0, 1.0);
            draw_from_all(&logits, &mut scanned(&logits), softmax, unit)
        };
        assert_eq!(
            [0.0, 0.24, 0.26, 0.74, 0.76, 1.0 - 1e-16].map(by_id),
            [0, 0, 2, 2, 3, 3]
        );
        let among_candidates = |unit: f64| {
            let candidates =
                [(0, 0.5), (2, 1.0), (3, 0.5)].map(|(token, weight)| Candidate { token, weight });
            draw(&candidates, unit)
        };
        assert_eq!(
            [0.0, 0.24, 0.26, 0.74, 0.76, 1.0 - 1e-16].map(among_candidates),
            [0, 0, 2, 2, 3, 3]
        );
    }

    #[test]
    fn a_draw_from_all_never_falls_on_a_masked_token() {
        let mut logits = vec![f32::NEG_INFINITY; 1000];
        for token in [3, 500, 640] {
            logits[token] = 1.5;
        }
        for step in 0..1000 {
            let softmax = Softmax::new(1.5, 1.0);
            let unit = f64::from(step) / 1000.0;
            let token = draw_from_all(&logits, &mut scanned(&logits), softmax, unit);
            assert!([3, 500, 640].contains(&token));
        }
    }
}
