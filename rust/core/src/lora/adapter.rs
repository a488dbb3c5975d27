//! An adapter's matrices as products want them: A of all maps that share an input one behind the other, B in panels.

use std::ops::Range;

use ruvllm_kernels::{LORA_PANEL, LoraNumbers, LoraStorage};

use crate::error::{Error, Result};

use super::numbers::{Matrix, write_panels, write_rows};

/// The linear maps of a layer, by what they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Q over K over V.
    AttentionInput,
    /// Back to the residual stream.
    AttentionOutput,
    /// Gate over up.
    FeedForwardInput,
    /// Back to the residual stream.
    FeedForwardOutput,
}

impl Site {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::AttentionInput,
        Self::AttentionOutput,
        Self::FeedForwardInput,
        Self::FeedForwardOutput,
    ];

    /// Where a step comes after this place of a layer.
    pub fn next(self, layer: usize) -> (usize, Self) {
        match self {
            Self::AttentionInput => (layer, Self::AttentionOutput),
            Self::AttentionOutput => (layer, Self::FeedForwardInput),
            Self::FeedForwardInput => (layer, Self::FeedForwardOutput),
            Self::FeedForwardOutput => (layer + 1, Self::AttentionInput),
        }
    }
}

/// An adapter; it never changes.
#[derive(Debug)]
pub struct Adapter {
    /// Names it among all that were ever made: what was computed under one is never taken for another's.
    generation: u64,
    /// All matrices, in the order in which a step comes to them.
    numbers: LoraStorage,
    layers: Vec<[SiteAdapter; 4]>,
}

/// What an adapter adds at one place.
#[derive(Debug, Clone, Default)]
pub struct SiteAdapter {
    /// Where A stands, `[rank, inputs]`: that of all parts, one behind the other.
    pub a: Range<usize>,
    /// Rows of it.
    pub rank: usize,
    /// What becomes of them.
    pub parts: Vec<Part>,
}

/// What an adapter adds to some outputs of a place.
#[derive(Debug, Clone)]
pub struct Part {
    /// The first output, among those of all maps of the place.
    pub first_output: usize,
    /// How many.
    pub outputs: usize,
    /// Its first row of A.
    pub first: usize,
    /// How many.
    pub rank: usize,
    /// What the product is multiplied with.
    pub scale: f32,
    /// Where B stands, in the panels of [`ruvllm_kernels::RowDelta`].
    pub b: Range<usize>,
}

impl Adapter {
    /// Its number among all that were ever made.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it adds at one place of a layer; `None` for a layer that it knows nothing of.
    pub fn at(&self, layer: usize, site: Site) -> Option<&SiteAdapter> {
        let sites = self.layers.get(layer)?;
        sites.get(site as usize)
    }

    /// Some of its numbers, by where they stand.
    pub fn numbers(&self, places: &Range<usize>) -> LoraNumbers<'_> {
        self.numbers.view(places.clone())
    }

    /// Bytes of its matrices.
    pub fn bytes(&self) -> usize {
        self.numbers.bytes()
    }
}

/// What is added to one map, and where that stands in a model; the lengths fit.
#[derive(Debug, Clone)]
pub struct PlacedPart<'a> {
    /// Which layer.
    pub layer: usize,
    /// Which place in it.
    pub site: Site,
    /// The first output, among those of all maps of the place.
    pub first_output: usize,
    /// `[rank, inputs]`
    pub a: Matrix<'a>,
    /// `[outputs, rank]`
    pub b: Matrix<'a>,
    /// Which rows of B come one behind the other, where they do not stand so.
    pub order: Option<Vec<u32>>,
    /// What the product is multiplied with.
    pub scale: f32,
}

impl PlacedPart<'_> {
    /// Numbers of B in its panels, the last filled up.
    fn panels(&self) -> usize {
        self.b.rows.next_multiple_of(LORA_PANEL) * self.b.columns
    }
}

/// Puts an adapter together: first all its places, then part by part what stands there.
#[derive(Debug)]
pub struct AdapterBuilder<'a> {
    parts: &'a [PlacedPart<'a>],
    /// Where A and B of each part stand.
    places: Vec<(Range<usize>, Range<usize>)>,
    numbers: LoraStorage,
    layers: Vec<[SiteAdapter; 4]>,
}

impl<'a> AdapterBuilder<'a> {
    /// For a model of so many layers; in f16, or in f32 where nothing of the model is rounded.
    pub fn new(
        layers: usize,
        is_single_precision: bool,
        parts: &'a [PlacedPart<'a>],
    ) -> Result<Self> {
        let mut sites = vec![Site::ALL.map(|_| SiteAdapter::default()); layers];
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|index| (parts[*index].layer, parts[*index].site as usize));
        let mut places = vec![(0..0, 0..0); parts.len()];
        let mut end = 0;
        let mut next = |numbers: usize| {
            let first = end;
            end += numbers;
            first..end
        };
        let together = |one: &usize, other: &usize| {
            let (one, other) = (&parts[*one], &parts[*other]);
            (one.layer, one.site) == (other.layer, other.site)
        };
        for group in order.chunk_by(together) {
            for index in group {
                places[*index].0 = next(parts[*index].a.values.len());
            }
            for index in group {
                let part = &parts[*index];
                places[*index].1 = next(part.panels());
                let site = &mut sites[part.layer][part.site as usize];
                site.parts.push(Part {
                    first_output: part.first_output,
                    outputs: part.b.rows,
                    first: site.rank,
                    rank: part.b.columns,
                    scale: part.scale,
                    b: places[*index].1.clone(),
                });
                site.rank += part.b.columns;
            }
            if let (Some(first), Some(last)) = (group.first(), group.last()) {
                let place = &parts[*first];
                let site = &mut sites[place.layer][place.site as usize];
                site.a = places[*first].0.start..places[*last].0.end;
            }
        }
        let numbers = LoraStorage::zeroed(end, is_single_precision)
            .map_err(|error| Error::OutOfMemory(format!("an adapter of {end} numbers: {error}")))?;
        Ok(Self {
            parts,
            places,
            numbers,
            layers: sites,
        })
    }

    /// Writes the numbers of a part; an error where one cannot be kept.
    pub fn write(&mut self, index: usize) -> Result<()> {
        let (part, (a, b)) = (&self.parts[index], &self.places[index]);
        if !part.scale.is_finite() {
            return Err(Error::Adapter(format!("its scale is {}", part.scale)));
        }
        let named = |name: &'static str| {
            move |error| match error {
                Error::Adapter(what) => Error::Adapter(format!("{name} holds {what}")),
                other => other,
            }
        };
        write_rows(part.a, self.numbers.view_mut(a.clone())).map_err(named("A"))?;
        let panels = self.numbers.view_mut(b.clone());
        write_panels(part.b, part.order.as_deref(), panels).map_err(named("B"))
    }

    /// The adapter, under a number that no other has.
    pub fn build(self, generation: u64) -> Adapter {
        Adapter {
            generation,
            numbers: self.numbers,
            layers: self.layers,
        }
    }
}
