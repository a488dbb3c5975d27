//! Checked tensors of safetensors files as candle's, in F32.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use ruvllm_core::model::spec::ModelSpec;
use ruvllm_core::{Error, Result};
use ruvllm_formats::{ModelFiles, TensorType};

use crate::failure;

/// All tensors of a model by their names, and how many bytes they take.
pub(crate) fn tensors(
    files: &ModelFiles,
    spec: &ModelSpec,
    device: &Device,
) -> Result<(HashMap<String, Tensor>, u64)> {
    let mut found = HashMap::new();
    let mut bytes = 0;
    for info in files.tensors() {
        if spec.consumed_tensors.contains(&info.name) {
            continue;
        }
        let Some((_, stored)) = files.tensor(&info.name) else {
            continue;
        };
        let kind = match info.tensor_type {
            TensorType::F32 => DType::F32,
            TensorType::F16 => DType::F16,
            TensorType::Bf16 => DType::BF16,
            other => {
                return Err(Error::Model(format!(
                    "tensor '{}' has type {}; on candle it must be F32, F16 or BF16",
                    info.name,
                    other.name()
                )));
            }
        };
        let tensor = Tensor::from_raw_buffer(stored, kind, &info.shape, device)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| failure::loading(&error))?;
        bytes += tensor.elem_count() as u64 * 4;
        files.release(info);
        found.insert(info.name.clone(), tensor);
    }
    Ok((found, bytes))
}

/// Whether the head is a tensor of its own, and no copy of the embedding.
pub(crate) fn has_own_head(files: &ModelFiles) -> bool {
    let bytes = |name: &str| files.tensor(name).map(|(_, bytes)| bytes);
    let head = bytes("lm_head.weight");
    head.is_some() && head != bytes("model.embed_tokens.weight")
}
