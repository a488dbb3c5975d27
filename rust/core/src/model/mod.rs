//! Models: a family's differences as data ([`spec`], [`families`]), and one decoder over them.

mod adapted;
mod adapters;
mod common_key;
mod compute;
mod decoder;
mod description;
pub mod families;
mod head_rows;
mod header;
mod image;
mod importance;
mod input_squares;
mod layer;
mod layer_blocks;
mod layer_rows;
mod linear;
mod loader;
mod model_runner;
mod norm;
mod outputs;
pub mod rope;
pub mod row_operations;
mod runner;
mod shared_blocks;
pub mod spec;
mod weight_reader;
mod weights;

use std::sync::{Arc, OnceLock};

use ruvllm_kernels::{Kernels, ThreadPool};

use crate::kv::{KvGroups, KvWanted};

pub(crate) use adapters::Place;
pub use adapters::{AdapterPart, Module};
pub use compute::{ActivationPrecision, Compute};
pub use description::ModelDescription;
pub use header::ModelHeader;
pub use image::{ImageUse, Images};
pub use importance::importance;
pub use layer_blocks::NO_BLOCK;
pub(crate) use linear::InputBuffers;
pub use linear::Linear;
pub use loader::{LoadOptions, load, open};
pub(crate) use model_runner::ModelRunner;
pub(crate) use norm::Norm;
pub(crate) use runner::{LOGIT_ROWS, Output, Runner, Taking};
pub use shared_blocks::SharedLayerBlocks;
use spec::ModelSpec;
pub(crate) use weights::{LayerWeights, Weights};

/// A loaded model: what it is, its packed weights, and what computes with them.
#[derive(Debug)]
pub struct Model {
    header: Arc<ModelHeader>,
    weights: Weights,
    kernels: Arc<dyn Kernels>,
    pool: Arc<ThreadPool>,
    precision: ActivationPrecision,
    description: ModelDescription,
    /// Of the head; made when learning asks for it.
    mean_head_row: OnceLock<Vec<f32>>,
}

impl Model {
    /// Everything in which this model differs from others.
    pub fn spec(&self) -> &ModelSpec {
        &self.header.spec
    }

    /// What was known of it before its weights.
    pub fn header(&self) -> &Arc<ModelHeader> {
        &self.header
    }

    /// What a user wants to know of it.
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// The arithmetic.
    pub fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }

    /// The arithmetic, to keep.
    pub(crate) fn shared_kernels(&self) -> Arc<dyn Kernels> {
        Arc::clone(&self.kernels)
    }

    /// The packed weights.
    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What its operations are handed.
    pub(crate) fn compute(&self) -> Compute<'_> {
        Compute {
            kernels: &*self.kernels,
            pool: &self.pool,
            precision: self.precision,
            profile: None,
        }
    }

    /// What it computes with, for others to share.
    pub fn pool(&self) -> &Arc<ThreadPool> {
        &self.pool
    }

    /// How many threads it computes with.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Whether nothing of it is rounded.
    fn is_exact(&self) -> bool {
        self.header.is_exact(self.precision)
    }

    /// How its key-value blocks are made.
    pub fn kv_groups(&self, wanted: KvWanted) -> crate::error::Result<KvGroups> {
        self.header.kv_groups(wanted, self.precision)
    }
}
