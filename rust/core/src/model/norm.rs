//! RMSNorm over the rows of a batch.

use crate::profile::Operation;

use super::compute::{Compute, ROWS_PER_TASK};

/// A norm's weight and its epsilon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) weight: &'a [f32],
    pub(crate) epsilon: f32,
}

impl Norm<'_> {
    /// Norms one row, or several of the weight's width.
    pub(super) fn apply_row(self, compute: Compute<'_>, input: &[f32], output: &mut [f32]) {
        compute
            .kernels
            .rms_norm(input, self.weight, self.epsilon, output);
    }

    /// Norms every row of `input` into `output`, which is resized.
    pub(crate) fn apply(self, compute: Compute<'_>, input: &[f32], output: &mut Vec<f32>) {
        output.resize(input.len(), 0.0);
        let task = ROWS_PER_TASK * self.weight.len();
        let rows = input.chunks(task).zip(output.chunks_mut(task)).collect();
        let norm = |(input, output): (&[f32], &mut [f32])| self.apply_row(compute, input, output);
        compute.timed(Operation::Norm, || compute.pool.for_each(rows, 1, norm));
    }

    /// Adds every row of `input`, normed, to `residual`.
    pub(crate) fn add_to(self, compute: Compute<'_>, input: &[f32], residual: &mut [f32]) {
        let width = self.weight.len();
        let task = ROWS_PER_TASK * width;
        let rows = input.chunks(task).zip(residual.chunks_mut(task)).collect();
        let add = |(input, residual): (&[f32], &mut [f32])| {
            let mut normed = vec![0.0; width];
            let rows = input
                .chunks_exact(width)
                .zip(residual.chunks_exact_mut(width));
            for (input, residual) in rows {
                self.apply_row(compute, input, &mut normed);
                compute.kernels.add(&normed, residual);
            }
        };
        compute.timed(Operation::Norm, || compute.pool.for_each(rows, 1, add));
    }
}
