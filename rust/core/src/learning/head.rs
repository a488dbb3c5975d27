//! An adapter on the last hidden state, after the output norm and before the head. Keys and values do not depend on it.

use ruvllm_kernels::Kernels;

use crate::error::{Error, Result};
use crate::lora::MAX_RANK;

/// `h + scale * sum over r of b[r] * (a[r] . h)`; it never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadAdapter {
    width: usize,
    scale: f32,
    /// `[rank, width]`
    a: Vec<f32>,
    /// B turned over, `[rank, width]`.
    b: Vec<f32>,
}

impl HeadAdapter {
    /// Of matrices for hidden states of that width; an error where they are none, or hold what is no number.
    pub fn new(width: usize, scale: f32, a: Vec<f32>, b: Vec<f32>) -> Result<Self> {
        let rank = a.len() / width.max(1);
        if a.len() != rank * width || b.len() != a.len() || !(1..=MAX_RANK).contains(&rank) {
            return Err(Error::Sona(format!(
                "matrices of {} and {} numbers are no 1 to {MAX_RANK} rows of {width}",
                a.len(),
                b.len()
            )));
        }
        if !a
            .iter()
            .chain(&b)
            .chain([&scale])
            .all(|value| value.is_finite())
        {
            return Err(Error::Sona(
                "the matrices or their scale hold what is no number".to_owned(),
            ));
        }
        Ok(Self { width, scale, a, b })
    }

    /// The hidden size that it is for.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What the sum is multiplied with.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Rows of A.
    pub fn a(&self) -> &[f32] {
        &self.a
    }

    /// Columns of B.
    pub fn b(&self) -> &[f32] {
        &self.b
    }

    /// Adds it to rows; each row's result depends on the row alone.
    pub(crate) fn add_to(&self, kernels: &dyn Kernels, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.width) {
            let mut reduced = [0.0; MAX_RANK];
            for (reduced, a) in reduced.iter_mut().zip(self.a.chunks_exact(self.width)) {
                *reduced = kernels.dot(a, row);
            }
            for (reduced, b) in reduced.iter().zip(self.b.chunks_exact(self.width)) {
                kernels.add_scaled(self.scale * reduced, b, row);
            }
        }
    }
}
