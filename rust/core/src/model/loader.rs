//! Files to a model: spec, weights, and what there is to say about them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ruvllm_formats::ModelFiles;
use ruvllm_kernels::{Kernels, ThreadPool, thread_choice};

use crate::error::{Error, Result};

use super::Model;
use super::compute::ActivationPrecision;
use super::description::ModelDescription;
use super::header::ModelHeader;
use super::image::{ImageWork, Images};
use super::weight_reader::WeightReader;

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The arithmetic.
    pub kernels: Arc<dyn Kernels>,
    /// The threads to compute with; models that share them take turns.
    pub pool: Arc<ThreadPool>,
    /// In which precision activations meet the weights.
    pub precision: ActivationPrecision,
    /// Where weights are found that were packed before.
    pub images: Option<Images>,
}

impl LoadOptions {
    /// With threads of its own, so many or those that are best on this machine, and without images.
    pub fn new(
        kernels: Arc<dyn Kernels>,
        threads: Option<usize>,
        precision: ActivationPrecision,
    ) -> Self {
        Self {
            kernels,
            pool: Arc::new(ThreadPool::new(thread_choice(threads).threads)),
            precision,
            images: None,
        }
    }
}

/// Opens, checks and packs a model; `progress` hears of bytes done and in all, and may stop it.
pub fn load(
    files: &ModelFiles,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Model> {
    let header = ModelHeader::of(files)?;
    let pool = Arc::clone(&options.pool);
    let image = ImageWork::begin(options.images.as_ref(), files, &pool, progress)?;
    let (weights, image) = WeightReader::new(files, &header.spec, &pool, image, progress).read()?;
    let description = ModelDescription {
        weight_bytes: weights.bytes() as u64,
        image,
        chat_template: files
            .metadata()
            .and_then(|m| m.get_str("tokenizer.chat_template"))
            .map(str::to_owned),
    };
    let (kernels, precision) = (Arc::clone(&options.kernels), options.precision);
    Ok(Model {
        header: Arc::new(header),
        weights,
        kernels,
        pool,
        precision,
        description,
        mean_head_row: OnceLock::new(),
    })
}

/// Opens a model's files.
pub fn open(path: &Path) -> Result<ModelFiles> {
    ModelFiles::open(path).map_err(Error::from)
}
