//! The step that feedback makes: up or down the gradient of an answer's mean log-likelihood with respect to A and B of an
//! adapter on the last hidden state, as far as a bound on the divergence allows, held by what must not be forgotten.

use ruvllm_kernels::Kernels;

use super::capture::Captured;
use super::measure::Measure;
use super::point::{Point, Products};
use super::state::{HeadState, StepLimits};
use super::step::Step;
use crate::error::{Error, Result};
use crate::ids::TokenId;

/// Numbers of the head that one update decodes at most, about, so that it takes the same time at any width.
const ROW_NUMBERS: usize = 1 << 18;
/// Rows of it at most; more add little to what is known of the probabilities.
const MAX_ROWS: usize = 192;

/// The head, row by row.
pub trait HeadRows {
    /// Its arithmetic.
    fn kernels(&self) -> &dyn Kernels;
    /// The rows of some tokens, one behind the other.
    fn rows(&self, tokens: &[TokenId], output: &mut [f32]);
    /// About the mean of all rows.
    fn mean_row(&self) -> &[f32];
    /// Where the logits are capped.
    fn soft_cap(&self) -> Option<f32>;
}

/// What an update did.
#[derive(Debug, Clone)]
pub struct Update {
    /// The state afterwards; as before where nothing moved.
    pub state: HeadState,
    /// Whether anything moved.
    pub applied: bool,
    /// The change of the mean log-probability of the answer's tokens.
    pub gain: f32,
    /// The divergence of the probabilities afterwards from those before, in nats a token.
    pub divergence: f32,
    /// That from those without an adapter.
    pub drift: f32,
}

/// Makes updates; keeps the memory that they take.
#[derive(Debug, Default)]
pub struct HeadLearner {
    measure: Measure,
    states: Vec<f32>,
    rows: Vec<f32>,
}

impl HeadLearner {
    /// What the answer's probabilities would be of a state: the mean log-probability of its tokens, and the
    /// divergence from no adapter.
    pub fn judge(
        &mut self,
        head: &dyn HeadRows,
        captured: &Captured,
        state: &HeadState,
    ) -> Result<(f32, f32)> {
        state.check(captured.width())?;
        self.look_at(head, captured)?;
        let point = Point::new(self.products(head.kernels(), captured), state.clone());
        let measure = &self.measure;
        Ok((measure.said(&point.probs), measure.drift(&point.probs)))
    }

    /// Moves a state by an advantage in -1..=1: above 0 makes the answer likelier. With 0 nothing moves.
    pub fn update(
        &mut self,
        head: &dyn HeadRows,
        captured: &Captured,
        advantage: f32,
        state: &HeadState,
        limits: &StepLimits,
    ) -> Result<Update> {
        if !(-1.0..=1.0).contains(&advantage) {
            return Err(Error::Sona(format!(
                "the advantage is {advantage}; -1 to 1 is allowed"
            )));
        }
        state.check(captured.width())?;
        self.look_at(head, captured)?;
        let products = self.products(head.kernels(), captured);
        let start = if state.a.iter().any(|value| *value != 0.0) {
            state.clone()
        } else {
            products.beginning(state)
        };
        let first = Point::new(products, start);
        let step = Step {
            products,
            limits,
            advantage,
            held_by: &state.fisher,
            before: &first.probs,
        };
        let mut best: Option<Point> = None;
        let steps = if advantage == 0.0 { 0 } else { limits.steps };
        for _ in 0..steps {
            let from = best.as_ref().unwrap_or(&first);
            let slope = from.slope(products);
            let Some(mut next) = step.take(from, &slope) else {
                break;
            };
            if best.is_none() {
                let slope = (&slope.a[..], &slope.b[..]);
                let decay = limits.fisher_decay;
                next.state.note_importance(slope, products.places, decay);
            }
            best = Some(next);
        }
        let measure = products.measure;
        let probs = &best.as_ref().unwrap_or(&first).probs;
        Ok(Update {
            applied: best.is_some(),
            gain: measure.said(probs) - measure.said(&first.probs),
            divergence: measure.divergence(&first.probs, probs),
            drift: measure.drift(probs),
            state: best.map_or_else(|| state.clone(), |best| best.state),
        })
    }

    /// Takes in an answer: states, rows of the head, and what the logits were without an adapter.
    fn look_at(&mut self, head: &dyn HeadRows, captured: &Captured) -> Result<()> {
        let (mean, cap, width) = (head.mean_row(), head.soft_cap(), captured.width());
        if captured.is_empty() || mean.len() != width {
            return Err(Error::Sona(format!(
                "{} tokens with states of {width} numbers; there must be some, of {}",
                captured.len(),
                mean.len()
            )));
        }
        captured.states(&mut self.states);
        let choice = &mut self.measure.choice;
        choice.of(
            captured,
            (ROW_NUMBERS / width).clamp(1, MAX_ROWS),
            cap.is_some(),
        );
        self.rows.resize((choice.tokens.len() + 1) * width, 0.0);
        let (rows, last) = self.rows.split_at_mut(choice.tokens.len() * width);
        head.rows(&choice.tokens, rows);
        last.copy_from_slice(mean);
        let added = captured.head().map(|head_adapter| {
            let products = self.products(head.kernels(), captured);
            products.added(head_adapter.a(), head_adapter.b(), head_adapter.scale())
        });
        self.measure.take_base(head.kernels(), cap, added.as_ref());
        Ok(())
    }

    fn products<'a>(&'a self, kernels: &'a dyn Kernels, captured: &Captured) -> Products<'a> {
        Products {
            kernels,
            measure: &self.measure,
            states: &self.states,
            rows: &self.rows,
            width: captured.width(),
            places: captured.len(),
        }
    }
}
