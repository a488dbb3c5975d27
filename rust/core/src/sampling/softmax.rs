//! Maxima and exponentials over a whole vocabulary, written so that the compiler uses lanes.
//!
//! The logits are seen in blocks of [`BLOCK`]. The maximum of each is found once and kept, and the
//! steps that gather candidates pass over the blocks that cannot matter to them. Exponentials are in
//! single precision by a polynomial and their sum in double precision across blocks; a
//! probability is off by less than 1e-6 of itself.

use std::sync::Arc;

use ruvllm_kernels::{Kernels, Scalar, WEIGHT_BLOCK};

/// How many logits share one entry of [`Blocks`].
pub(super) const BLOCK: usize = WEIGHT_BLOCK;

/// Below this exponent a weight counts as zero; e^-87 is the last one that is a normal number.
const LEAST_EXPONENT: f32 = -87.0;

/// What one pass over the logits has found; its memory is used again for the next ones.
#[derive(Debug, Clone)]
pub(super) struct Blocks {
    /// The largest logit of each block; NaN is passed over, a block of nothing else has -inf.
    pub(super) maxima: Vec<f32>,
    /// The largest of all.
    pub(super) maximum: f32,
    /// The sum of the weights of each block, where [`Softmax::total`] was asked for it.
    pub(super) sums: Vec<f32>,
    kernels: Arc<dyn Kernels>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            maxima: Vec::new(),
            maximum: f32::NEG_INFINITY,
            sums: Vec::new(),
            kernels: Arc::new(Scalar),
        }
    }
}

impl Blocks {
    /// With the arithmetic of this machine.
    pub(super) fn new(kernels: Arc<dyn Kernels>) -> Self {
        Self {
            kernels,
            ..Self::default()
        }
    }

    /// Finds the maxima; false when no logit is left to choose, all being NaN or -inf.
    pub(super) fn scan(&mut self, logits: &[f32]) -> bool {
        self.maxima.resize(logits.len().div_ceil(BLOCK), 0.0);
        self.kernels.block_maxima(logits, &mut self.maxima);
        self.maximum = self
            .maxima
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        self.maximum > f32::NEG_INFINITY
    }
}

/// Turns logits into weights: probabilities of which the largest is 1, yet to be normalized.
///
/// +inf is taken as the largest finite number, so that it outweighs every ordinary logit and
/// differences stay defined; -inf and NaN weigh nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    maximum: f32,
    inverse_temperature: f32,
}

impl Softmax {
    /// `maximum` is the largest logit; the temperature is above 0.
    pub(super) fn new(maximum: f32, temperature: f32) -> Self {
        Self {
            maximum: maximum.min(f32::MAX),
            // Tiny temperatures must not make 0 * inf of the maximum itself.
            inverse_temperature: (1.0 / temperature).min(f32::MAX),
        }
    }

    /// The weight of one logit.
    #[inline]
    pub(super) fn weight(self, logit: f32) -> f32 {
        exponential((logit - self.maximum) * self.inverse_temperature)
    }

    /// The logarithm of the weight of one logit, at most 0.
    pub(super) fn exponent(self, logit: f32) -> f32 {
        ((logit - self.maximum) * self.inverse_temperature).min(0.0)
    }

    /// A logit below which every weight is less than `weight`.
    pub(super) fn cutoff(self, weight: f64) -> f32 {
        let distance = weight.ln() / f64::from(self.inverse_temperature);
        (f64::from(self.maximum) + distance) as f32
    }

    /// How far a logit lies below the largest, before any temperature.
    pub(super) fn distance(self, logit: f32) -> f64 {
        f64::from(logit.min(f32::MAX)) - f64::from(self.maximum)
    }

    /// The sum of all weights; leaves the sums of the blocks in `blocks`, which has to have
    /// scanned the same logits.
    pub(super) fn total(self, logits: &[f32], blocks: &mut Blocks) -> f64 {
        let scale = (self.maximum, self.inverse_temperature);
        blocks.sums.resize(logits.len().div_ceil(BLOCK), 0.0);
        blocks.kernels.weight_sums(logits, scale, &mut blocks.sums);
        blocks.sums.iter().map(|&sum| f64::from(sum)).sum()
    }
}

/// e^x for x up to 0; what is above 0 counts as 0, what is below [`LEAST_EXPONENT`] or NaN
/// gives 0.
///
/// x = n ln 2 + r with n whole and |r| at most ln 2 / 2; e^r is its series up to r^7 (the rest
/// is below 6e-9), and 2^n goes straight into the exponent bits.
#[inline]
fn exponential(x: f32) -> f32 {
    /// Adding it rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    /// ln 2 in two parts; the first has few enough bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4; // 355 / 512
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > 0.0 { 0.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut series = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        series = series * r + coefficient;
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x > LEAST_EXPONENT {
        series * power
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_two_units_in_the_last_place() {
        let mut worst = 0.0_f64;
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exponential(x)) - exact).abs() / exact;
            worst = worst.max(error);
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst:e}");
    }

    #[test]
    fn the_ends_of_the_exponential() {
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-0.0), 1.0);
        assert_eq!(exponential(f32::INFINITY), 1.0);
        assert_eq!(exponential(-86.999).to_bits() >> 23, 1);
        for x in [-87.0, -1000.0, f32::MIN, f32::NEG_INFINITY, f32::NAN] {
            assert_eq!(exponential(x), 0.0, "{x}");
        }
    }

    #[test]
    fn maxima_of_all_lengths_pass_over_nan() {
        for length in 1..=3 * BLOCK {
            let mut logits = vec![f32::NAN; length];
            let mut blocks = Blocks::default();
            assert!(!blocks.scan(&logits), "{length}");
            logits[length / 2] = -3.5;
            assert!(blocks.scan(&logits), "{length}");
            assert_eq!(blocks.maximum, -3.5, "{length}");
        }
        assert!(!Blocks::default().scan(&[]));
    }

    #[test]
    fn totals_agree_with_the_plain_sum() {
        for (length, temperature) in [(1, 1.0), (63, 0.5), (64, 2.0), (65, 0.01), (1000, 100.0)] {
            let logits: Vec<f32> = (0..length).map(|i| (i as f32 * 0.77).sin() * 9.0).collect();
            let mut blocks = Blocks::default();
            assert!(blocks.scan(&logits));
            let total = Softmax::new(blocks.maximum, temperature).total(&logits, &mut blocks);
            let exact: f64 = logits
                .iter()
                .map(|&l| (f64::from(l - blocks.maximum) / f64::from(temperature)).exp())
                .sum();
            assert!(
                (total / exact - 1.0).abs() < 1e-6,
                "{length}: {total} {exact}"
            );
        }
    }
}
