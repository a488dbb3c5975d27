//! An adapter's matrices as products want them: A of all maps that share an input one behind the other, B in panels.

use ruvllm_kernels::LORA_PANEL;

use crate::error::{Error, Result};

use super::numbers::Numbers;

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
}

/// An adapter; it never changes.
#[derive(Debug)]
pub struct Adapter {
    /// Names it among all that were ever made: what was computed under one is never taken for another's.
    generation: u64,
    layers: Vec<[SiteAdapter; 4]>,
}

/// What an adapter adds at one place.
#[derive(Debug, Clone, Default)]
pub struct SiteAdapter {
    /// `[rank, inputs]`: A of all parts, one behind the other.
    pub a: Numbers,
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
    /// B, in the panels of [`ruvllm_kernels::RowDelta`].
    pub b: Numbers,
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

    /// Bytes of its matrices.
    pub fn bytes(&self) -> usize {
        let sites = self.layers.iter().flatten();
        sites.map(SiteAdapter::bytes).sum()
    }
}

impl SiteAdapter {
    fn bytes(&self) -> usize {
        let b: usize = self.parts.iter().map(|part| part.b.bytes()).sum();
        self.a.bytes() + b
    }
}

/// Puts an adapter together, map by map.
#[derive(Debug)]
pub struct AdapterBuilder {
    layers: Vec<[SiteAdapter; 4]>,
    is_single_precision: bool,
}

impl AdapterBuilder {
    /// Nothing yet, for a model of so many layers; in f16, or in f32 where nothing of the model is rounded.
    pub fn new(layers: usize, is_single_precision: bool) -> Self {
        let site = SiteAdapter {
            a: Numbers::new(is_single_precision),
            ..SiteAdapter::default()
        };
        let sites = Site::ALL.map(|_| site.clone());
        Self {
            layers: vec![sites; layers],
            is_single_precision,
        }
    }

    /// Adds what `scale * B A` is added to outputs of a place: A `[rank, inputs]`, B `[outputs, rank]`.
    ///
    /// The lengths are the caller's to check; the values are checked here.
    pub fn add(
        &mut self,
        (layer, site): (usize, Site),
        (first_output, outputs): (usize, usize),
        (a, b): (&[f32], &[f32]),
        scale: f32,
    ) -> Result<()> {
        let rank = b.len() / outputs.max(1);
        let place = &mut self.layers[layer][site as usize];
        if !scale.is_finite() {
            return Err(Error::Adapter(format!("its scale is {scale}")));
        }
        let mut turned = vec![0.0; rank * outputs.next_multiple_of(LORA_PANEL)];
        let targets = turned.chunks_mut((rank * LORA_PANEL).max(1));
        for (rows, panel) in b.chunks((rank * LORA_PANEL).max(1)).zip(targets) {
            for (lane, row) in rows.chunks_exact(rank).enumerate() {
                for (place, value) in panel.iter_mut().skip(lane).step_by(LORA_PANEL).zip(row) {
                    *place = *value;
                }
            }
        }
        let mut panels = Numbers::new(self.is_single_precision);
        panels.extend("B", &turned)?;
        place.a.extend("A", a)?;
        place.parts.push(Part {
            first_output,
            outputs,
            first: place.rank,
            rank,
            scale,
            b: panels,
        });
        place.rank += rank;
        Ok(())
    }

    /// The adapter, under a number that no other has.
    pub fn build(self, generation: u64) -> Adapter {
        Adapter {
            generation,
            layers: self.layers,
        }
    }
}
