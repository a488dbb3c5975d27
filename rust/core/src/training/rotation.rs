//! What becomes of queries and keys before attention, row by row: their norms, and their positions.

use crate::model::spec::ModelSpec;
use crate::model::{Compute, LayerWeights};

use super::rows::{Rotary, Turn};

/// Rows that one thread takes at a time.
const ROWS_PER_TASK: usize = 16;

/// Norms and rotary embedding of a layer.
#[derive(Clone, Copy)]
pub(super) struct Rotation<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) spec: &'a ModelSpec,
    pub(super) weights: &'a LayerWeights,
    pub(super) rotary: &'a Rotary,
}

impl Rotation<'_> {
    /// Queries, and keys, of a row of Q, K and V.
    fn sides<'a>(self, row: &'a mut [f32]) -> [(&'a mut [f32], Option<&'a [f32]>); 2]
    where
        Self: 'a,
    {
        let dim = self.spec.head_dim;
        let (queries, rest) = row.split_at_mut(self.spec.num_heads * dim);
        let keys = &mut rest[..self.spec.num_kv_heads * dim];
        [
            (queries, self.weights.query_norm.as_deref()),
            (keys, self.weights.key_norm.as_deref()),
        ]
    }

    /// Whether heads are normed before.
    pub(super) fn has_norms(self) -> bool {
        self.weights.query_norm.is_some() || self.weights.key_norm.is_some()
    }

    fn width(self) -> usize {
        (self.spec.num_heads + 2 * self.spec.num_kv_heads) * self.spec.head_dim
    }

    /// Norms and rotates queries and keys in place.
    pub(super) fn forward(self, rows: &mut [f32]) {
        let Compute { kernels, pool, .. } = self.compute;
        let rows = rows.chunks_exact_mut(self.width()).enumerate();
        pool.for_each(
            rows.collect(),
            ROWS_PER_TASK,
            |(index, row): (usize, &mut [f32])| {
                let (cosines, sines) = self.rotary.row(index, Turn::There);
                for (heads, norm) in self.sides(row) {
                    if let Some(weight) = norm {
                        let input = heads.to_vec();
                        kernels.rms_norm(&input, weight, self.spec.norm_epsilon, heads);
                    }
                    kernels.rotate(heads, self.spec.head_dim, cosines, sines);
                }
            },
        );
    }

    /// From gradients after that to those before, in place; `projected` is what was normed, where there are norms.
    pub(super) fn backward(self, projected: &[f32], gradients: &mut [f32]) {
        let Compute { kernels, pool, .. } = self.compute;
        let rows = gradients.chunks_exact_mut(self.width()).enumerate();
        pool.for_each(
            rows.collect(),
            ROWS_PER_TASK,
            |(index, row): (usize, &mut [f32])| {
                let (cosines, sines) = self.rotary.row(index, Turn::Back);
                let mut first = index * self.width();
                for (heads, norm) in self.sides(row) {
                    kernels.rotate(heads, self.spec.head_dim, cosines, sines);
                    if let Some(weight) = norm {
                        let output = heads.to_vec();
                        heads.fill(0.0);
                        let input = &projected[first..first + output.len()];
                        let norm = (weight, self.spec.norm_epsilon);
                        kernels.rms_norm_backward(input, norm, &output, heads);
                    }
                    first += heads.len();
                }
            },
        );
    }
}
