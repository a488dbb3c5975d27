//! Files to a model: spec, weights, and what there is to say about them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ruvllm_formats::ModelFiles;
use ruvllm_kernels::{Kernels, ThreadPool};

use crate::error::{Error, Result};

use super::Model;
use super::compute::ActivationPrecision;
use super::description::ModelDescription;
use super::families::spec_from_files;
use super::image::{ImageWork, Images};
use super::weight_reader::WeightReader;

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The arithmetic.
    pub kernels: Arc<dyn Kernels>,
    /// Threads to compute with.
    pub threads: usize,
    /// In which precision activations meet the weights.
    pub precision: ActivationPrecision,
    /// Where weights are found that were packed before.
    pub images: Option<Images>,
}

/// Opens, checks and packs a model; `progress` hears of bytes done and in all, and may stop it.
pub fn load(
    files: &ModelFiles,
    options: &LoadOptions,
    progress: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Model> {
    let spec = spec_from_files(files)?;
    let pool = ThreadPool::new(options.threads);
    let image = ImageWork::begin(options.images.as_ref(), files, &pool, progress)?;
    let (weights, image) = WeightReader::new(files, &spec, &pool, image, progress).read()?;
    let mut bytes_by_type: BTreeMap<&str, u64> = BTreeMap::new();
    let mut num_parameters = 0;
    for info in files.tensors() {
        *bytes_by_type.entry(info.tensor_type.name()).or_default() += info.element_count() as u64;
        num_parameters += info.element_count() as u64;
    }
    let matrices = layer_types(files);
    let quantization = most(&matrices)
        .or_else(|| most(&bytes_by_type))
        .unwrap_or("F32");
    let description = ModelDescription {
        quantization: quantization.to_owned(),
        is_single_precision: quantization == "F32",
        num_parameters,
        file_bytes: files.total_bytes(),
        weight_bytes: weights.bytes() as u64,
        image,
        chat_template: files
            .metadata()
            .and_then(|m| m.get_str("tokenizer.chat_template"))
            .map(str::to_owned),
    };
    let (kernels, precision) = (Arc::clone(&options.kernels), options.precision);
    Ok(Model {
        spec,
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

/// Weights by type, of the layers' matrices alone: the embedding often has another type.
fn layer_types(files: &ModelFiles) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for info in files
        .tensors()
        .filter(|info| info.shape.len() == 2 && info.name.contains(char::is_numeric))
    {
        *counts.entry(info.tensor_type.name()).or_default() += info.element_count() as u64;
    }
    counts
}

fn most<'a>(counts: &BTreeMap<&'a str, u64>) -> Option<&'a str> {
    counts
        .iter()
        .max_by_key(|(_, count)| **count)
        .map(|(name, _)| *name)
}
