//! What the head of a model's files says: all that can be known before a weight is read.

use std::collections::BTreeMap;

use ruvllm_formats::{ModelFiles, TensorInfo};
use ruvllm_kernels::KvFormat;

use crate::error::{Error, Result};
use crate::kv::{KvGroups, KvWanted};

use super::compute::ActivationPrecision;
use super::families::spec_from_files;
use super::spec::ModelSpec;

/// A model before its weights.
#[derive(Debug, Clone)]
pub struct ModelHeader {
    /// Everything in which it differs from others.
    pub spec: ModelSpec,
    /// The tensor type that holds most weights.
    pub quantization: &'static str,
    /// Weights in all.
    pub num_parameters: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Name, type and shape of each tensor, outermost dimension first.
    pub tensors: Vec<(String, &'static str, Vec<usize>)>,
}

impl ModelHeader {
    /// Checks the files of a model as far as that needs no weights.
    pub fn of(files: &ModelFiles) -> Result<Self> {
        let spec = spec_from_files(files)?;
        let described = |info: &TensorInfo| {
            (
                info.name.clone(),
                info.tensor_type.name(),
                info.shape.clone(),
            )
        };
        let (mut by_type, mut in_layers) = (BTreeMap::new(), BTreeMap::new());
        let mut num_parameters = 0;
        for info in files.tensors() {
            let (name, count) = (info.tensor_type.name(), info.element_count() as u64);
            *by_type.entry(name).or_default() += count;
            // Of the layers' matrices alone: the embedding often has another type.
            if info.shape.len() == 2 && info.name.contains(char::is_numeric) {
                *in_layers.entry(name).or_default() += count;
            }
            num_parameters += count;
        }
        Ok(Self {
            spec,
            quantization: most(&in_layers).or_else(|| most(&by_type)).unwrap_or("F32"),
            num_parameters,
            file_bytes: files.total_bytes(),
            tensors: files.tensors().map(described).collect(),
        })
    }

    /// Whether nothing of it is rounded, so that nothing beside it should be.
    pub fn is_exact(&self, precision: ActivationPrecision) -> bool {
        precision == ActivationPrecision::Float || self.quantization == "F32"
    }

    /// How its key-value blocks are made; a format that is not given is the one that goes with the precision.
    pub fn kv_groups(&self, wanted: KvWanted, precision: ActivationPrecision) -> Result<KvGroups> {
        let layers = self.spec.layers.iter();
        // A window over the longest context is none.
        let seen = |window: Option<usize>| window.filter(|window| *window < self.spec.max_context);
        let windows: Vec<_> = layers.map(|layer| seen(layer.window)).collect();
        let fitting = if self.is_exact(precision) {
            KvFormat::F32
        } else {
            KvFormat::I16
        };
        let heads = (self.spec.num_kv_heads, self.spec.head_dim);
        let scheme = wanted.scheme(fitting, self.spec.max_context)?;
        let mut groups = KvGroups::of(&windows, heads, scheme);
        if self.spec.has_bare_key_bias() && scheme.store.bits().0 <= 8 {
            if self.spec.is_key_bias_known() {
                groups = groups.without_key_bias();
            } else if scheme.store.has_rough_keys() {
                let (name, (bits, _)) = (scheme.store.name(), scheme.store.bits());
                return Err(Error::Config(format!(
                    "kv_format {name}: the keys of this model have a bias, beside which {bits} bits leave nothing of them \
                     (answers would be nonsense), and its positions change with the length of a text, so that the bias \
                     cannot be kept apart; take kv_format k8v4, or store_precision Q8"
                )));
            }
        }
        Ok(groups)
    }
}

fn most(counts: &BTreeMap<&'static str, u64>) -> Option<&'static str> {
    let most = counts.iter().max_by_key(|(_, count)| **count);
    most.map(|(name, _)| *name)
}
