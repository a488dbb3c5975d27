//! The rows of a batch that have adapters, at one place of one layer: `A x` while rows are at hand, and what the
//! product is to add of it.

use std::ops::Range;

use ruvllm_kernels::{FloatRows, Kernels, ReadAhead, RowDelta};

use crate::batch::Batch;
use crate::lora::{Adapter, AdapterUse, Site, SiteAdapter, are_same};

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

    /// How many rows from one on, of so many at most, have the same added to them, and what; at least one.
    pub(super) fn together(self, row: usize, most: usize) -> (usize, &'a [AdapterUse]) {
        let Some(batch) = self.batch else {
            return (1, &[]);
        };
        let after = batch
            .sequences
            .partition_point(|sequence| sequence.first_row + sequence.rows <= row);
        let mut behind = batch.sequences[after..].iter();
        let Some(sequence) = behind.next() else {
            return (1, &[]);
        };
        let uses = &*sequence.adapters;
        let same = behind.take_while(|other| are_same(&other.adapters, uses));
        let end = same.last().unwrap_or(sequence).range().end;
        match uses {
            [] => (1, uses),
            _ => (most.clamp(1, end - row), uses),
        }
    }

    /// What [`Self::reduce`] reads at the place that comes after this one, in the order of the rows.
    pub(super) fn read_next(self) -> Vec<ReadAhead> {
        let (layer, site) = self.site.next(self.layer);
        let next = Self {
            layer,
            site,
            ..self
        };
        let uses = next.runs().flat_map(|(_, uses)| next.sites(uses));
        uses.map(|(adapter, site, _)| adapter.numbers(&site.a).read_ahead())
            .collect()
    }

    /// Computes `scale * A x` of rows that have the same adapters, for all that is added to each, one behind the other.
    pub(super) fn reduce(
        self,
        kernels: &dyn Kernels,
        uses: &'a [AdapterUse],
        x: FloatRows<'_>,
        (reduced, stride): (&mut [f32], usize),
    ) {
        let mut before = 0;
        for (adapter, site, scale) in self.sites(uses) {
            if site.rank == 0 {
                continue;
            }
            let own = &mut reduced[before..];
            kernels.lora_reduce(adapter.numbers(&site.a), x, (own, stride));
            for row in own.chunks_mut(stride) {
                for part in &site.parts {
                    let factor = part.scale * scale;
                    for value in &mut row[part.first..part.first + part.rank] {
                        *value *= factor;
                    }
                }
            }
            before += site.rank;
        }
    }

    /// What the product adds, where `reduced` has the rows of [`Self::reduce`].
    pub(super) fn deltas(self, reduced: &'a [f32], stride: usize) -> Vec<RowDelta<'a>> {
        let mut deltas = Vec::new();
        for (rows, uses) in self.runs() {
            let mut before = rows.start * stride;
            for (adapter, site, _) in self.sites(uses) {
                deltas.extend(site.parts.iter().map(|part| RowDelta {
                    rows: rows.clone(),
                    first_output: part.first_output,
                    outputs: part.outputs,
                    b: adapter.numbers(&part.b),
                    reduced: &reduced[before + part.first..],
                    stride,
                    rank: part.rank,
                }));
                before += site.rank;
            }
        }
        deltas
    }

    /// Rows with the same adapters, and what is added to the model for them.
    fn runs(self) -> impl Iterator<Item = (Range<usize>, &'a [AdapterUse])> {
        let sequences = self.batch.map_or(&[][..], |batch| &batch.sequences);
        let groups = sequences.chunk_by(|one, next| are_same(&one.adapters, &next.adapters));
        groups.filter_map(|group| {
            let (first, last) = (group.first()?, group.last()?);
            let uses = &*first.adapters;
            (!uses.is_empty()).then(|| (first.first_row..last.range().end, uses))
        })
    }

    fn sites(
        self,
        uses: &'a [AdapterUse],
    ) -> impl Iterator<Item = (&'a Adapter, &'a SiteAdapter, f32)> {
        let (layer, site) = (self.layer, self.site);
        uses.iter().filter_map(move |one| {
            let adapter: &Adapter = &one.adapter;
            Some((adapter, adapter.at(layer, site)?, one.scale))
        })
    }

    fn rank(self, uses: &'a [AdapterUse]) -> usize {
        self.sites(uses).map(|(_, site, _)| site.rank).sum()
    }
}
