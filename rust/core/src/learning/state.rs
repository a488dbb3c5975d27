//! What a tenant has learned, as numbers, and how far an update may change it.

use super::head::HeadAdapter;
use crate::error::{Error, Result};
use crate::lora::MAX_RANK;

/// What a tenant has learned: matrices `[rank, width]`, B turned over.
#[derive(Debug, Clone)]
pub struct HeadState {
    /// All 0 where nothing is learned.
    pub a: Vec<f32>,
    /// What is added for it.
    pub b: Vec<f32>,
    /// What the sum is multiplied with.
    pub scale: f32,
    /// The importance of A and of B.
    pub fisher: (Vec<f32>, Vec<f32>),
    /// Where the penalty pulls them.
    pub anchor: (Vec<f32>, Vec<f32>),
}

/// How far an update may go.
#[derive(Debug, Clone, Copy)]
pub struct StepLimits {
    /// The divergence of an update with an advantage of 1, in nats a token.
    pub max_divergence: f32,
    /// How far the answer's probabilities may be from those without an adapter, likewise.
    pub max_drift: f32,
    /// How strongly importance holds, whatever the width: it is multiplied with that.
    pub ewc_lambda: f32,
    /// What of the importance stays at each update.
    pub fisher_decay: f32,
    /// Gradients that an update follows, one after the other.
    pub steps: usize,
}

impl From<(f32, f32, f32, f32, usize)> for StepLimits {
    /// Its fields in their order.
    fn from(fields: (f32, f32, f32, f32, usize)) -> Self {
        let (max_divergence, max_drift, ewc_lambda, fisher_decay, steps) = fields;
        Self {
            max_divergence,
            max_drift,
            ewc_lambda,
            fisher_decay,
            steps,
        }
    }
}

impl HeadState {
    /// A, B, their importance, and where they are pulled.
    pub fn matrices(self) -> [Vec<f32>; 6] {
        let (fisher, anchor) = (self.fisher, self.anchor);
        [self.a, self.b, fisher.0, fisher.1, anchor.0, anchor.1]
    }

    /// Refuses matrices that do not belong together, or hold what is no number.
    pub(super) fn check(&self, width: usize) -> Result<()> {
        let Self {
            a,
            b,
            fisher,
            anchor,
            ..
        } = self;
        let others = [b, &fisher.0, &fisher.1, &anchor.0, &anchor.1];
        let rank = a.len() / width.max(1);
        let fit = others.iter().all(|other| other.len() == a.len());
        if !fit || a.len() != rank * width || !(1..=MAX_RANK).contains(&rank) {
            return Err(Error::Sona(format!(
                "what was learned does not fit hidden states of {width}: A has {} numbers",
                a.len()
            )));
        }
        let mut numbers = others.into_iter().chain([a]).flatten().chain([&self.scale]);
        if !numbers.all(|value| value.is_finite()) {
            return Err(Error::Sona(
                "what was learned holds what is no number".to_owned(),
            ));
        }
        Ok(())
    }

    /// As requests take it.
    pub fn adapter(&self, width: usize) -> Result<HeadAdapter> {
        HeadAdapter::new(width, self.scale, self.a.clone(), self.b.clone())
    }

    /// Takes the squares of a gradient into the importance, which is their fading mean: those of the sum over
    /// the tokens, a token. The first are the mean as they are.
    pub(super) fn note_importance(&mut self, slope: (&[f32], &[f32]), places: usize, decay: f32) {
        let (fisher_a, fisher_b) = &mut self.fisher;
        let is_first = fisher_b.iter().all(|value| *value == 0.0);
        let decay = if is_first { 0.0 } else { decay };
        for (fisher, slope) in [(fisher_a, slope.0), (fisher_b, slope.1)] {
            for (fisher, slope) in fisher.iter_mut().zip(slope) {
                *fisher = decay * *fisher + (1.0 - decay) * places as f32 * slope * slope;
            }
        }
    }
}
