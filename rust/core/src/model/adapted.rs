//! The rows of a batch that have adapters, at one place of one layer: `A x` while a row is at hand, and what the
//! product is to add of it.

use std::ops::Range;

use ruvllm_kernels::{Kernels, RowDelta};

use crate::batch::Batch;
use crate::lora::{AdapterUse, Site, SiteAdapter};

/// Rows of a batch with what is added for them; nothing where no sequence has an adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapted<'a> {
    batch: Option<&'a Batch>,
    layer: usize,
    site: Site,
}

impl<'a> Adapted<'a> {
    /// No row has an adapter.
    pub(super) const NONE: Self = Self {
        batch: None,
        layer: 0,
        site: Site::AttentionInput,
    };

    /// Those of a batch at one place.
    pub(super) fn new(batch: &'a Batch, layer: usize, site: Site) -> Self {
        let has_any = batch
            .sequences
            .iter()
            .any(|sequence| !sequence.adapters.is_empty());
        Self {
            batch: has_any.then_some(batch),
            layer,
            site,
        }
    }

    /// Whether nothing is added.
    pub(super) fn is_empty(self) -> bool {
        self.batch.is_none()
    }

    /// Numbers that `A x` takes for a row, of the row that takes most.
    pub(super) fn stride(self) -> usize {
        self.runs()
            .map(|(_, uses)| self.rank(uses))
            .max()
            .unwrap_or(0)
    }

    /// Computes `scale * A x` of one row, for all that is added to it, one behind the other.
    pub(super) fn reduce(self, kernels: &dyn Kernels, row: usize, x: &[f32], reduced: &mut [f32]) {
        let Some(batch) = self.batch else { return };
        let after = batch
            .sequences
            .partition_point(|sequence| sequence.first_row <= row);
        let Some(sequence) = after.checked_sub(1).map(|index| &batch.sequences[index]) else {
            return;
        };
        let mut rest = reduced;
        for (site, scale) in self.sites(&sequence.adapters) {
            let (own, behind) = std::mem::take(&mut rest).split_at_mut(site.rank);
            kernels.lora_reduce(site.a.view(), x, own);
            for part in &site.parts {
                let factor = part.scale * scale;
                for value in &mut own[part.first..part.first + part.rank] {
                    *value *= factor;
                }
            }
            rest = behind;
        }
    }

    /// What the product adds, where `reduced` has the rows of [`Self::reduce`].
    pub(super) fn deltas(self, reduced: &'a [f32], stride: usize) -> Vec<RowDelta<'a>> {
        let mut deltas = Vec::new();
        for (rows, uses) in self.runs() {
            let mut before = rows.start * stride;
            for (site, _) in self.sites(uses) {
                deltas.extend(site.parts.iter().map(|part| RowDelta {
                    rows: rows.clone(),
                    first_output: part.first_output,
                    outputs: part.outputs,
                    b: part.b.view(),
                    reduced: &reduced[before + part.first..],
                    stride,
                    rank: part.rank,
                }));
                before += site.rank;
            }
        }
        deltas
    }

    /// The rows of each sequence, and what is added to the model for it.
    fn runs(self) -> impl Iterator<Item = (Range<usize>, &'a [AdapterUse])> {
        let sequences = self.batch.into_iter().flat_map(|batch| &batch.sequences);
        let adapted = sequences.filter(|sequence| !sequence.adapters.is_empty());
        adapted.map(|sequence| (sequence.range(), &*sequence.adapters))
    }

    fn sites(self, uses: &'a [AdapterUse]) -> impl Iterator<Item = (&'a SiteAdapter, f32)> {
        let (layer, site) = (self.layer, self.site);
        uses.iter()
            .filter_map(move |one| Some((one.adapter.at(layer, site)?, one.scale)))
    }

    fn rank(self, uses: &'a [AdapterUse]) -> usize {
        self.sites(uses).map(|(site, _)| site.rank).sum()
    }
}
