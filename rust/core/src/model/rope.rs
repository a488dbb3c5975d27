//! Rotary position embeddings: frequencies and their scalings.
//!
//! A frequency is the angle, in radians, that a pair of dimensions turns per position. The formulas,
//! and where they round to f32, are those of transformers' `modeling_rope_utils`, so that positions
//! far out see the same angles. The decoder asks for [`RopeSpec::frequencies`] and fills a table of
//! cosines and sines from them; the engine asks for [`ModelSpec::rope_regimes`].

use std::f64::consts::PI;

use super::spec::{ModelSpec, RopeScaling, RopeSpec, YarnScaling};

/// Which frequencies a sequence uses.
///
/// Keys that were cached in one regime are wrong in the other: when a sequence crosses, its cache
/// is computed anew, and blocks are shared between sequences of the same regime only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RopeRegime {
    /// Up to the trained context; the only one but for long-rope models.
    Short,
    /// Beyond the trained context of a long-rope model.
    Long,
}

/// The frequencies for one sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeFrequencies {
    /// Radians per position, one for each pair of dimensions.
    pub inverse: Vec<f32>,
    /// Factor on every cosine and sine.
    pub magnitude: f32,
}

impl RopeFrequencies {
    /// Writes the cosines and sines of `position`, one for each pair of dimensions.
    ///
    /// # Panics
    /// If the slices are not as long as [`Self::inverse`].
    pub fn fill(&self, position: usize, cosines: &mut [f32], sines: &mut [f32]) {
        assert_eq!(cosines.len(), self.inverse.len(), "one cosine a pair");
        assert_eq!(sines.len(), self.inverse.len(), "one sine a pair");
        let position = position as f32;
        for ((inverse, cosine), sine) in self.inverse.iter().zip(cosines).zip(sines) {
            let (s, c) = (position * inverse).sin_cos();
            *cosine = c * self.magnitude;
            *sine = s * self.magnitude;
        }
    }
}

impl ModelSpec {
    /// Which frequencies a sequence of this length uses, as a number of their own: a bit for each of
    /// [`ModelSpec::ropes`], the first the lowest, which is set where it is [`RopeRegime::Long`].
    pub fn rope_regimes(&self, sequence_length: usize) -> u64 {
        let regimes = self.ropes.iter().map(|rope| rope.regime(sequence_length));
        regimes.rev().fold(0, |bits, regime| {
            bits << 1 | u64::from(regime == RopeRegime::Long)
        })
    }

    /// Whether a sequence has the same frequencies at this length and at every one up to `longer`.
    pub fn is_rope_steady(&self, length: usize, longer: usize) -> bool {
        self.ropes.iter().all(|rope| match rope.scaling {
            RopeScaling::DynamicNtk {
                original_context, ..
            } => longer <= original_context || longer <= length,
            _ => rope.regime(length) == rope.regime(longer),
        })
    }
}

impl RopeSpec {
    /// The frequencies of a sequence of `sequence_length` tokens.
    ///
    /// `sequence_length` counts every token that is known when one is computed: the whole prompt
    /// during its prefill, also when that goes in chunks. It matters for [`RopeScaling::LongRope`]
    /// and [`RopeScaling::DynamicNtk`] only. With the latter, cached keys keep the frequencies that
    /// they were computed with, as in transformers.
    pub fn frequencies(&self, sequence_length: usize) -> RopeFrequencies {
        let powers = powers(f64::from(self.base), self.dimensions);
        let plain = |magnitude| RopeFrequencies {
            inverse: powers.iter().map(|power| 1.0 / power).collect(),
            magnitude,
        };
        match &self.scaling {
            RopeScaling::None => plain(1.0),
            RopeScaling::Linear { factor } => plain(1.0).map_inverse(|inverse| inverse / factor),
            RopeScaling::DynamicNtk {
                factor,
                original_context,
            } => self.dynamic(*factor, *original_context, sequence_length),
            RopeScaling::Yarn(yarn) => RopeFrequencies {
                inverse: yarn.inverse(&powers, f64::from(self.base)),
                magnitude: yarn.magnitude,
            },
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_context,
            } => {
                let bands = Llama3Bands {
                    factor: *factor,
                    low: *low_frequency_factor,
                    high: *high_frequency_factor,
                    original_context: *original_context as f32,
                };
                plain(1.0).map_inverse(|inverse| bands.stretch(inverse))
            }
            RopeScaling::Divisors(divisors) => {
                let mut frequencies = plain(1.0);
                for (inverse, divisor) in frequencies.inverse.iter_mut().zip(divisors) {
                    *inverse /= divisor;
                }
                frequencies
            }
            RopeScaling::LongRope {
                short,
                long,
                magnitude,
                ..
            } => {
                let divisors = match self.regime(sequence_length) {
                    RopeRegime::Short => short,
                    RopeRegime::Long => long,
                };
                let pairs = divisors.iter().zip(&powers);
                RopeFrequencies {
                    inverse: pairs
                        .map(|(divisor, power)| 1.0 / (divisor * power))
                        .collect(),
                    magnitude: *magnitude,
                }
            }
        }
    }

    /// Which of a long-rope model's two sets of frequencies a sequence of this length uses.
    pub fn regime(&self, sequence_length: usize) -> RopeRegime {
        match &self.scaling {
            RopeScaling::LongRope {
                original_context, ..
            } if sequence_length > *original_context => RopeRegime::Long,
            _ => RopeRegime::Short,
        }
    }

    fn dynamic(&self, factor: f32, original: usize, sequence_length: usize) -> RopeFrequencies {
        let (factor, width) = (f64::from(factor), self.dimensions as f64);
        let ratio = sequence_length.max(original) as f64 / original as f64;
        let growth = (factor * ratio - (factor - 1.0)).powf(width / (width - 2.0));
        let powers = powers(f64::from(self.base) * growth, self.dimensions);
        RopeFrequencies {
            inverse: powers.iter().map(|power| 1.0 / power).collect(),
            magnitude: 1.0,
        }
    }
}

impl RopeFrequencies {
    fn map_inverse(mut self, change: impl Fn(f32) -> f32) -> Self {
        for inverse in &mut self.inverse {
            *inverse = change(*inverse);
        }
        self
    }
}

/// `base ^ (2i / dimensions)`; the exponent is rounded to f32 before, the power after.
fn powers(base: f64, dimensions: usize) -> Vec<f32> {
    (0..dimensions / 2)
        .map(|pair| {
            let exponent = (2 * pair) as f32 / dimensions as f32;
            base.powf(f64::from(exponent)) as f32
        })
        .collect()
}

impl YarnScaling {
    /// `0.1 * multiplier * ln(factor) + 1`: how much YaRN scales the attention, as a factor on cosine and
    /// sine, for `multiplier` 1.
    pub fn default_magnitude(factor: f64, multiplier: f64) -> f64 {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * multiplier * factor.ln() + 1.0
        }
    }

    /// Low frequencies are divided by the factor, high ones kept, with a linear ramp between.
    fn inverse(&self, powers: &[f32], base: f64) -> Vec<f32> {
        let (low, high) = self.ramp(2 * powers.len(), base);
        let width = if low == high { 0.001 } else { high - low };
        powers
            .iter()
            .enumerate()
            .map(|(pair, power)| {
                let interpolated = ((pair as f32 - low as f32) / width as f32).clamp(0.0, 1.0);
                let kept = 1.0 - interpolated;
                let (stretched, plain) = (1.0 / (self.factor * power), 1.0 / power);
                stretched * (1.0 - kept) + plain * kept
            })
            .collect()
    }

    /// The pairs at which the ramp begins and ends.
    fn ramp(&self, dimensions: usize, base: f64) -> (f64, f64) {
        let dimensions = dimensions as f64;
        let pair_that_turns = |rotations: f32| {
            let wavelength = self.original_context as f64 / (f64::from(rotations) * 2.0 * PI);
            dimensions * wavelength.ln() / (2.0 * base.ln())
        };
        let (mut low, mut high) = (
            pair_that_turns(self.beta_fast),
            pair_that_turns(self.beta_slow),
        );
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low.max(0.0), high.min(dimensions - 1.0))
    }
}

/// Llama 3.1's three bands of wavelengths.
struct Llama3Bands {
    factor: f32,
    low: f32,
    high: f32,
    original_context: f32,
}

impl Llama3Bands {
    fn stretch(&self, inverse: f32) -> f32 {
        let wavelength = 2.0 * std::f32::consts::PI / inverse;
        if wavelength < self.original_context / self.high {
            inverse
        } else if wavelength > self.original_context / self.low {
            inverse / self.factor
        } else {
            let kept = (self.original_context / wavelength - self.low) / (self.high - self.low);
            (1.0 - kept) * inverse / self.factor + kept * inverse
        }
    }
}
