//! The logits of an answer's candidates along a line of adapters: every trial of a step costs them and a softmax, and no
//! product of a state with a matrix.

use super::measure::{Added, Measure, Probs, Reduced, product};
use super::point::Point;

/// Logits before the cap, `start + far * (first + far * second)` for each candidate. A and B both move, so that it is a square:
/// `(u + t du) . (w + t dw) = u . w + t (u . dw + du . w) + t^2 (du . dw)`.
#[derive(Debug)]
pub(super) struct Line<'a> {
    start: &'a [f32],
    first: Vec<f32>,
    second: Vec<f32>,
}

impl<'a> Line<'a> {
    /// From a point to where `by` more is added.
    pub(super) fn new(measure: &Measure, from: &'a Point, by: &Added) -> Self {
        let places = from.raw.len();
        let (mut first, mut second) = (vec![0.0; places], vec![0.0; places]);
        let rows = from.added.rows.iter().copied();
        let rows: Vec<(Reduced, Reduced)> = rows.zip(by.rows.iter().copied()).collect();
        for (place, candidates) in measure.choice.places().enumerate() {
            let (state, state_by) = (from.added.states[place], by.states[place]);
            let targets = first[candidates.clone()].iter_mut();
            let targets = targets.zip(&mut second[candidates.clone()]);
            for (row, (first, second)) in measure.choice.rows[candidates].iter().zip(targets) {
                let (row, row_by) = rows[*row as usize];
                *first = product(state, row_by) + product(state_by, row);
                *second = product(state_by, row_by);
            }
        }
        Self {
            start: &from.raw,
            first,
            second,
        }
    }

    /// The logits so far along.
    pub(super) fn logits(&self, far: f32, output: &mut Vec<f32>) {
        let parts = self.first.iter().zip(&self.second);
        let moved = parts.map(|(first, second)| far * (first + far * second));
        let moved = self
            .start
            .iter()
            .zip(moved)
            .map(|(start, moved)| start + moved);
        output.clear();
        output.extend(moved);
    }

    /// How the divergence grows at the beginning: as half of it times the square of the way. It is the mean over the places of
    /// the variance with which logits, after the cap, rise; `slopes` are what the cap makes of them.
    pub(super) fn curvature(&self, measure: &Measure, probs: &Probs, slopes: &[f32]) -> f32 {
        let mut sum = 0.0;
        for candidates in measure.choice.places() {
            let rises = self.first[candidates.clone()]
                .iter()
                .zip(&slopes[candidates.clone()]);
            let (mut mean, mut square) = (0.0, 0.0);
            for (share, (first, slope)) in probs.shares[candidates].iter().zip(rises) {
                let rise = first * slope;
                mean += share * rise;
                square += share * rise * rise;
            }
            sum += f64::from((square - mean * mean).max(0.0));
        }
        (sum / measure.places() as f64) as f32
    }
}
