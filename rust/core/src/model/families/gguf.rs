//! The part of GGUF metadata that every family shares, as a plain Llama-like decoder.
//!
//! Names and defaults are those that llama.cpp's converter writes and its loader assumes. A family
//! calls [`decoder`] and changes in the result what it does differently.

use ruvllm_kernels::Activation;

use super::config::inverse_root;
use super::fields::Fields;
use super::source::GgufSource;
use super::{limits, names, refusals, rope_gguf};
use crate::model::spec::{AttentionInput, LayerSpec, ModelSpec, RotaryLayout, SpecialTokens};
use crate::{Error, Result};

/// A decoder with one RoPE and no windows.
pub(super) fn decoder(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    refusals::check_gguf(keys)?;
    let hidden_size = keys.required_count("embedding_length", limits::WIDTH)?;
    let num_heads = keys.required_count("attention.head_count", limits::HEADS)?;
    let num_layers = keys.required_count("block_count", limits::LAYERS)?;
    let max_context = keys.required_count("context_length", limits::CONTEXT)?;
    let head_dim = head_dim(keys, hidden_size, num_heads)?;
    let (rope, consumed_tensors) = rope_gguf::single(source, head_dim, max_context)?;
    let epsilon = "attention.layer_norm_rms_epsilon";
    let epsilon = keys
        .number(epsilon, limits::EPSILON)?
        .ok_or_else(|| keys.refuse(epsilon, "must be a positive number"))?;
    Ok(ModelSpec {
        architecture: source.architecture.to_owned(),
        name: source.name.map(str::to_owned),
        vocab_size: vocab_size(source, keys)?,
        hidden_size,
        feed_forward_size: keys.required_count("feed_forward_length", limits::WIDTH)?,
        num_heads,
        num_kv_heads: num_kv_heads(keys, num_heads)?,
        head_dim,
        max_context,
        norm_epsilon: epsilon as f32,
        norm_weight_offset: 0.0,
        activation: Activation::Silu,
        embedding_scale: 1.0,
        attention_scale: inverse_root(head_dim as f64),
        attention_soft_cap: None,
        final_soft_cap: None,
        ropes: vec![rope],
        layers: vec![
            LayerSpec {
                window: None,
                rope: 0
            };
            num_layers
        ],
        rotary_layout: RotaryLayout::Halves,
        tensors: names::gguf(),
        consumed_tensors,
        special_tokens: SpecialTokens::default(),
    })
}

fn head_dim(keys: &Fields, hidden_size: usize, num_heads: usize) -> Result<usize> {
    const KEY: &str = "attention.key_length";
    const VALUE: &str = "attention.value_length";
    let head_dim = match keys.count(KEY, limits::HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let rule = format!("needed, as {num_heads} heads do not divide {hidden_size}");
            return Err(keys.refuse(KEY, &rule));
        }
    };
    match keys.count(VALUE, limits::HEAD_DIM)? {
        Some(value) if value != head_dim => {
            let rule = format!("must equal the width of a key, {head_dim}");
            Err(keys.refuse(VALUE, &rule))
        }
        _ => Ok(head_dim),
    }
}

fn num_kv_heads(keys: &Fields, num_heads: usize) -> Result<usize> {
    const KEY: &str = "attention.head_count_kv";
    let num_kv_heads = keys.count(KEY, limits::HEADS)?.unwrap_or(num_heads);
    if num_heads.is_multiple_of(num_kv_heads) {
        Ok(num_kv_heads)
    } else {
        let rule = format!("must divide the number of query heads, {num_heads}");
        Err(keys.refuse(KEY, &rule))
    }
}

/// The embedding's rows: `vocab_size` is missing in some files and stale in others.
fn vocab_size(source: &GgufSource, keys: &Fields) -> Result<usize> {
    let Some(shape) = source.tensors.shape(names::GGUF_EMBEDDING) else {
        return keys.required_count("vocab_size", limits::WIDTH);
    };
    let rows = shape.first().copied().unwrap_or(0);
    if shape.len() == 2 && (1..=limits::WIDTH).contains(&rows) {
        return Ok(rows);
    }
    Err(Error::Model(format!(
        "GGUF: tensor `{}` has shape {shape:?}; it must be [vocabulary, hidden size] with a \
         vocabulary of 1 to {}",
        names::GGUF_EMBEDDING,
        limits::WIDTH
    )))
}

/// `attention.sliding_window`; 0 stands for none.
pub(super) fn sliding_window(keys: &Fields) -> Result<Option<usize>> {
    let window = keys.integer("attention.sliding_window", 0..=limits::CONTEXT as u64)?;
    Ok(window
        .map(|window| window as usize)
        .filter(|window| *window > 0))
}

/// Gives every layer the window that the file names, if any.
pub(super) fn set_window(keys: &Fields, spec: &mut ModelSpec) -> Result<()> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let window = sliding_window(keys)?;
    if window.is_some() && keys.get(PATTERN).is_some() {
        return Err(keys.refuse(PATTERN, "this family has one window for all layers"));
    }
    for layer in &mut spec.layers {
        layer.window = window;
    }
    Ok(())
}

/// Refuses a window, for families in which the file does not say which layers it holds for.
pub(super) fn check_no_window(keys: &Fields) -> Result<()> {
    match sliding_window(keys)? {
        None => Ok(()),
        Some(_) => Err(keys.refuse(
            "attention.sliding_window",
            "windows are not supported in GGUF files of this family",
        )),
    }
}

/// Biases of Q, K and V where the file holds them.
pub(super) fn find_attention_bias(source: &GgufSource, spec: &mut ModelSpec) {
    if let AttentionInput::Split { query, .. } = &spec.tensors.layer.attention_input
        && source
            .tensors
            .has(&names::bias_of(&names::in_first_layer(query)))
    {
        names::add_attention_biases(&mut spec.tensors);
    }
}
