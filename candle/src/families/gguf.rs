//! GGUF files: candle's models over quantized weights.
//!
//! Candle reads the file's head by itself, behind our checks, and is then told again what these have found: what it
//! takes a default for, and how long the context is, by which it sizes its tables.

use std::fs::File;
use std::io::BufReader;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_transformers::models::{
    quantized_llama, quantized_phi3, quantized_qwen2, quantized_qwen3,
};
use ruvllm_core::model::spec::ModelSpec;
use ruvllm_core::{Error, Result};
use ruvllm_formats::{ModelFiles, TensorType};
use ruvllm_kernels::Activation;

use super::Fit;
use super::refusals::{
    activation, biases, plain_heads, plain_rope, plain_scores, refused, within_windows,
};
use crate::failure;
use crate::network::{Network, QuantizedLlama, QuantizedPhi3};

/// The masks of its quantized Qwen 2 take a byte for each pair of a text's tokens, and stay: up to here some tens of MB.
const QWEN2_CONTEXT: usize = 8192;
/// Its quantized Phi 3 knows no other.
const PHI3_ROPE_BASE: f32 = 10_000.0;

/// Whether candle computes what the file says.
pub(super) fn fit(files: &ModelFiles, spec: &ModelSpec) -> Result<Fit> {
    let [_] = files.paths() else {
        return Err(refused(
            spec,
            "it reads no file in several parts (join them: llama-gguf-split --merge)",
        ));
    };
    known_types(files, spec)?;
    let family = spec.architecture.as_str();
    if let Some(what) = missing(family) {
        return Err(refused(spec, &what));
    }
    plain_scores(spec)?;
    activation(spec, Activation::Silu)?;
    let rope = plain_rope(spec)?;
    if family != "qwen3" {
        plain_heads(spec)?;
    }
    if family != "phi3" {
        biases(spec, family == "qwen2")?;
    } else if rope.base.to_bits() != PHI3_ROPE_BASE.to_bits() {
        let what = format!("the base of its rotary embedding is {}", rope.base);
        return Err(refused(spec, &what));
    } else if files.tensor("output.weight").is_none() {
        return Err(refused(spec, "its head is its embedding"));
    }
    let mut fit = within_windows(spec);
    let most = match family {
        "llama" => Some((
            quantized_llama::MAX_SEQ_LEN,
            "candle has so many positions for such files",
        )),
        "qwen2" => Some((
            QWEN2_CONTEXT,
            "candle keeps a mask of every part of a prompt for good",
        )),
        _ => None,
    };
    if let Some((most, why)) = most
        && fit.limit.as_ref().is_none_or(|(tokens, _)| *tokens > most)
    {
        fit.limit = Some((most, why.to_owned()));
    }
    Ok(fit)
}

/// What candle does not have of GGUF files, where it is a whole family.
fn missing(family: &str) -> Option<String> {
    match family {
        "llama" | "qwen2" | "qwen3" | "phi3" => None,
        "gemma3" => Some(
            "of GGUF files it makes rotary tables of 131072 positions for each layer, gigabytes of them; take the \
             folder of safetensors"
                .to_owned(),
        ),
        other => Some(format!(
            "of GGUF files it has llama, qwen2, qwen3 and phi3, not '{other}'; take the folder of safetensors where \
             there is one"
        )),
    }
}

fn known_types(files: &ModelFiles, spec: &ModelSpec) -> Result<()> {
    let is_known = |kind: TensorType| {
        use TensorType::{Bf16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        matches!(
            kind,
            F32 | F16 | Bf16 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q8_0 | Q2K | Q3K | Q4K | Q5K | Q6K
        )
    };
    match files.tensors().find(|info| !is_known(info.tensor_type)) {
        None => Ok(()),
        Some(info) => Err(refused(
            spec,
            &format!(
                "tensor '{}' has type {}, which it does not read",
                info.name,
                info.tensor_type.name()
            ),
        )),
    }
}

/// The model with its weights.
pub(super) fn load(
    files: &ModelFiles,
    spec: &ModelSpec,
    max_context: usize,
    device: &Device,
) -> Result<Box<dyn Network>> {
    let path = files
        .paths()
        .first()
        .ok_or_else(|| Error::Model("the model has no file".to_owned()))?;
    let file = File::open(path).map_err(|error| Error::Io {
        kind: error.kind(),
        message: format!("cannot open {}: {error}", path.display()),
    })?;
    let mut reader = BufReader::new(file);
    failure::caught(|| read(&mut reader, files, spec, max_context, device))
        .map_err(|error| failure::loading(&error))
}

fn read(
    reader: &mut BufReader<File>,
    files: &ModelFiles,
    spec: &ModelSpec,
    max_context: usize,
    device: &Device,
) -> candle_core::Result<Box<dyn Network>> {
    let mut content = Content::read(reader)?;
    place(&mut content, files)?;
    tell(&mut content, spec, max_context);
    Ok(match spec.architecture.as_str() {
        "llama" => {
            let fresh = quantized_llama::ModelWeights::from_gguf(content, reader, device)?;
            let used = fresh.clone();
            Box::new(QuantizedLlama { fresh, used })
        }
        "qwen2" => Box::new(quantized_qwen2::ModelWeights::from_gguf(
            content, reader, device,
        )?),
        "qwen3" => Box::new(quantized_qwen3::ModelWeights::from_gguf(
            content, reader, device,
        )?),
        _ => {
            let fresh = quantized_phi3::ModelWeights::from_gguf(false, content, reader, device)?;
            let used = fresh.clone();
            Box::new(QuantizedPhi3 { fresh, used })
        }
    })
}

/// Has candle find every tensor where our reader has found it: it reads some alignments otherwise, and a file may have
/// become another one since.
fn place(content: &mut Content, files: &ModelFiles) -> candle_core::Result<()> {
    let mut begin = None;
    for info in files.tensors() {
        let known = content.tensor_infos.get(&info.name);
        let relative = known.map(|known| known.offset);
        let here = relative.and_then(|offset| (info.byte_offset() as u64).checked_sub(offset));
        if here.is_none() || begin.is_some_and(|begin| Some(begin) != here) {
            return Err(candle_core::Error::Msg(format!(
                "candle finds tensor '{}' elsewhere than the file has it",
                info.name
            )));
        }
        begin = here;
    }
    content.tensor_data_offset = begin.unwrap_or(content.tensor_data_offset);
    Ok(())
}

/// Writes what was checked into what candle has read.
fn tell(content: &mut Content, spec: &ModelSpec, max_context: usize) {
    let numbers = [
        ("attention.head_count", spec.num_heads),
        ("attention.head_count_kv", spec.num_kv_heads),
        ("attention.key_length", spec.head_dim),
        ("attention.value_length", spec.head_dim),
        ("block_count", spec.layers.len()),
        ("context_length", max_context),
        ("embedding_length", spec.hidden_size),
        ("expert_count", 0),
        ("feed_forward_length", spec.feed_forward_size),
        ("rope.dimension_count", spec.head_dim),
    ];
    let base = spec.ropes.first().map_or(0.0, |rope| rope.base);
    let floats = [
        ("attention.layer_norm_rms_epsilon", spec.norm_epsilon),
        ("rope.freq_base", base),
    ];
    let metadata = &mut content.metadata;
    let key = |name: &str| format!("{}.{name}", spec.architecture);
    metadata.extend(numbers.map(|(name, number)| (key(name), Value::U32(number as u32))));
    metadata.extend(floats.map(|(name, number)| (key(name), Value::F32(number))));
    // Otherwise Qwen 3 has its positions in 16 bits, which hold 2048 of them.
    metadata.insert("general.dtype".to_owned(), Value::U32(0));
}
