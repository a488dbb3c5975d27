//! Squares of what goes into the maps of the layers, added up column by column while a model runs.

use std::sync::{Mutex, PoisonError};

use super::compute::Compute;
use super::linear::Source;
use super::spec::ModelSpec;
use crate::lora::Site;

/// The sums of all inputs of a model, so far.
#[derive(Debug)]
pub(super) struct InputSquares(Mutex<Vec<[Vec<f64>; Site::ALL.len()]>>);

impl InputSquares {
    pub(super) fn of(spec: &ModelSpec) -> Self {
        let heads = spec.num_heads * spec.head_dim;
        let widths = [
            spec.hidden_size,
            heads,
            spec.hidden_size,
            spec.feed_forward_size,
        ];
        let layer = || widths.map(|width| vec![0.0; width]);
        Self(Mutex::new(spec.layers.iter().map(|_| layer()).collect()))
    }

    /// Of each layer, of each site: the sum of each column.
    pub(super) fn sums(self) -> Vec<[Vec<f64>; Site::ALL.len()]> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the squares of all rows of an input.
    pub(super) fn add(&self, compute: Compute<'_>, (layer, site): (usize, Site), source: Source) {
        let mut normed = Vec::new();
        let rows = match source {
            Source::Rows(rows) => rows,
            Source::Normed(rows, norm) => {
                norm.apply(compute, rows, &mut normed);
                &normed
            }
        };
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Site::ALL.iter().position(|one| *one == site);
        let Some(sums) = sums.get_mut(layer).zip(place).map(|(of, at)| &mut of[at]) else {
            return;
        };
        for row in rows.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
    }
}
