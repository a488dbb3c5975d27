//! One step of an update: as far along the gradient as the bounds allow, with the pull of what must not be forgotten.

use super::line::Line;
use super::measure::{Added, Probs, Reduced};
use super::point::{Point, Products, Slope};
use super::state::{HeadState, StepLimits};

/// Corrections of a step's length, until its divergence is near the one that is allowed.
const CORRECTIONS: usize = 4;
/// What of the divergence that is allowed a length aims at.
const AIM: f32 = 0.95;
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
    pub(super) before: &'a Probs,
}

impl Step<'_> {
    /// The point after it; `None` where every step would break a bound or go the wrong way.
    pub(super) fn take(&self, from: &Point, slope: &Slope) -> Option<Point> {
        let Products {
            kernels, measure, ..
        } = self.products;
        let length = self.length(from, slope)?;
        let (a, b) = self.moved(&from.state, slope, length);
        let to = self.products.added(&a, &b, from.state.scale);
        let by = Added {
            states: gaps(&from.added.states, &to.states),
            rows: gaps(&from.added.rows, &to.rows),
        };
        let line = Line::new(measure, from, &by);
        let (mut raw, mut probs) = (Vec::new(), Probs::default());
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            line.logits(share, &mut raw);
            measure.probs(kernels, &raw, &mut probs);
            if self.keeps_bounds(from, &probs) {
                let state = HeadState {
                    a: along(&from.state.a, &a, share),
                    b: along(&from.state.b, &b, share),
                    scale: from.state.scale,
                    fisher: from.state.fisher.clone(),
                    anchor: from.state.anchor.clone(),
                };
                let added = Added {
                    states: farther(&from.added.states, &by.states, share),
                    rows: farther(&from.added.rows, &by.rows, share),
                };
                return Some(Point {
                    state,
                    added,
                    raw,
                    probs,
                });
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

    fn keeps_bounds(&self, from: &Point, to: &Probs) -> bool {
        let measure = self.products.measure;
        let gain = measure.said(to) - measure.said(&from.probs);
        let drift = measure.drift(to);
        gain * self.advantage > 0.0
            && measure.divergence(self.before, to) <= self.allowed()
            && (drift <= self.limits.max_drift || drift < measure.drift(&from.probs))
    }

    /// How far along the gradient the divergence is this step's part of what it may be.
    fn length(&self, from: &Point, slope: &Slope) -> Option<f32> {
        let Products {
            kernels, measure, ..
        } = self.products;
        let allowed = self.allowed() / (self.limits.steps.max(1) as f32).powi(2);
        let sign = self.advantage.signum();
        let line = Line::new(measure, from, &slope.added);
        let curvature = line.curvature(measure, &from.probs, &slope.of_cap);
        if !(curvature > 0.0 && curvature.is_finite()) {
            return None;
        }
        // As if the divergence were a square; what it is says the rest.
        let mut length = (2.0 * AIM * allowed / curvature).sqrt();
        let (mut raw, mut probs) = (Vec::new(), Probs::default());
        for _ in 0..CORRECTIONS {
            line.logits(sign * length, &mut raw);
            measure.probs(kernels, &raw, &mut probs);
            let found = measure.divergence(&from.probs, &probs);
            if !found.is_finite() || found > 16.0 * allowed {
                length *= 0.25;
                continue;
            }
            if (0.85..=1.0).contains(&(found / allowed)) {
                break;
            }
            length *= (AIM * allowed / found.max(allowed * 1e-3)).sqrt();
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

/// How far each is from where it was.
fn gaps(from: &[Reduced], to: &[Reduced]) -> Vec<Reduced> {
    let pairs = from.iter().zip(to);
    let gap = |(from, to): (&Reduced, &Reduced)| std::array::from_fn(|rank| to[rank] - from[rank]);
    pairs.map(gap).collect()
}

/// Each with a share of something more.
fn farther(from: &[Reduced], by: &[Reduced], share: f32) -> Vec<Reduced> {
    let pairs = from.iter().zip(by);
    let sum = |(from, by): (&Reduced, &Reduced)| {
        std::array::from_fn(|rank| from[rank] + share * by[rank])
    };
    pairs.map(sum).collect()
}
