//! One step of an update: as far along the gradient as the bounds allow, with the pull of what must not be forgotten.

use super::measure::{Added, LogProbs};
use super::point::{Point, Products, Slope};
use super::state::{HeadState, StepLimits};

/// Corrections of a step's length, until its divergence is near the one that is allowed.
const CORRECTIONS: usize = 4;
/// Halvings of a step that does not keep its bounds.
const HALVINGS: usize = 6;

/// One step along a gradient.
pub(super) struct Step<'a> {
    pub(super) products: Products<'a>,
    pub(super) limits: &'a StepLimits,
    pub(super) advantage: f32,
    /// The importance before this update.
    pub(super) held_by: &'a (Vec<f32>, Vec<f32>),
    /// What the answer's probabilities were before this update.
    pub(super) before: &'a LogProbs,
}

impl Step<'_> {
    /// The point after it; `None` where every step would break a bound or go the wrong way.
    pub(super) fn take(&self, from: &Point, slope: &Slope) -> Option<Point> {
        let products = self.products;
        let length = self.length(from, slope)?;
        let (a, b) = self.moved(&from.state, slope, length);
        let of_states = products.of_states(&a, from.state.scale);
        let of_rows = products.of_rows(&b);
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            let state = HeadState {
                a: along(&from.state.a, &a, share),
                b: along(&from.state.b, &b, share),
                ..from.state.clone()
            };
            let known = (
                along(&from.of_states, &of_states, share),
                along(&from.of_rows, &of_rows, share),
            );
            let point = Point::with(products, state, known);
            if self.keeps_bounds(from, &point) {
                return Some(point);
            }
            share *= 0.5;
        }
        None
    }

    /// The divergence that an update may make: of an advantage half as large a quarter, so that its length is
    /// as the advantage.
    fn allowed(&self) -> f32 {
        self.limits.max_divergence * self.advantage.powi(2)
    }

    fn keeps_bounds(&self, from: &Point, to: &Point) -> bool {
        let measure = self.products.measure;
        let gain = measure.said(&to.probs) - measure.said(&from.probs);
        let drift = measure.drift(&to.probs);
        gain * self.advantage > 0.0
            && measure.divergence(self.before, &to.probs) <= self.allowed()
            && (drift <= self.limits.max_drift || drift < measure.drift(&from.probs))
    }

    /// How far along the gradient the divergence is this step's part of what it may be.
    fn length(&self, from: &Point, slope: &Slope) -> Option<f32> {
        let measure = self.products.measure;
        let allowed = self.allowed() / (self.limits.steps.max(1) as f32).powi(2);
        let sign = self.advantage.signum();
        let mut probs = LogProbs::default();
        let mut divergence = |length: f32| {
            let moved = |from: &[f32], slope: &[f32]| -> Vec<f32> {
                let pairs = from.iter().zip(slope);
                pairs
                    .map(|(from, slope)| from + sign * length * slope)
                    .collect()
            };
            let added = Added {
                rank: slope.a.len() / self.products.width,
                states: &moved(&from.of_states, &slope.of_states),
                rows: &moved(&from.of_rows, &slope.of_rows),
            };
            measure.log_probs(added, &mut probs);
            measure.divergence(&from.probs, &probs)
        };
        let squares = [&slope.a, &slope.b].into_iter().flatten();
        let squares: f32 = squares.map(|value| value * value).sum();
        if !(squares > 0.0 && squares.is_finite()) {
            return None;
        }
        // As if the likelihood rose by what is allowed; what divergence that makes says the rest.
        let mut length = allowed / squares;
        for _ in 0..CORRECTIONS {
            let found = divergence(length);
            if !found.is_finite() || found > 16.0 * allowed {
                length *= 0.25;
                continue;
            }
            if (0.85..=1.0).contains(&(found / allowed)) {
                break;
            }
            length *= (0.95 * allowed / found.max(allowed * 1e-3)).sqrt();
        }
        Some(length)
    }

    /// The state after so long a step, and after the penalty has pulled, which is solved exactly.
    fn moved(&self, state: &HeadState, slope: &Slope, length: f32) -> (Vec<f32>, Vec<f32>) {
        let sign = self.advantage.signum();
        // The importance of a number is, with a gradient of the same length, the smaller the more there are.
        let strength = self.limits.ewc_lambda * self.products.width as f32;
        let strength = strength * length / self.advantage.abs();
        let half = |values: &[f32], slope: &[f32], fisher: &[f32], anchor: &[f32]| -> Vec<f32> {
            let places = values.iter().zip(slope).zip(fisher.iter().zip(anchor));
            places
                .map(|((value, slope), (fisher, anchor))| {
                    let moved = value + sign * length * slope;
                    let pull = strength * fisher;
                    moved + (anchor - moved) * (pull / (1.0 + pull))
                })
                .collect()
        };
        (
            half(&state.a, &slope.a, &self.held_by.0, &state.anchor.0),
            half(&state.b, &slope.b, &self.held_by.1, &state.anchor.1),
        )
    }
}

/// So much of the way from one point to another.
fn along(from: &[f32], to: &[f32], share: f32) -> Vec<f32> {
    let pairs = from.iter().zip(to);
    pairs.map(|(from, to)| from + share * (to - from)).collect()
}
