//! Qwen 2 and 2.5 (biases on Q, K and V) and Qwen 3 (norms on the heads of Q and K).

use super::config::{self, Defaults, LayerKind};
use super::fields::Fields;
use super::source::{ConfigSource, GgufSource};
use super::{gguf, names, refusals};
use crate::Result;
use crate::model::spec::{ModelSpec, TensorNames};

const DEFAULTS: Defaults = Defaults {
    num_kv_heads: Some(32),
    max_context: 32_768,
    begin: None,
    end: None,
    ..config::LLAMA
};

/// Qwen 2's config.json.
pub(super) fn qwen2_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_not_gemma(config)?;
    let mut spec = config::decoder(source, &DEFAULTS)?;
    set_windows(config, &mut spec)?;
    names::add_attention_biases(&mut spec.tensors);
    Ok(spec)
}

/// Qwen 3's config.json.
pub(super) fn qwen3_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_not_gemma(config)?;
    let defaults = Defaults {
        head_dim: Some(128),
        ..DEFAULTS
    };
    let mut spec = config::decoder(source, &defaults)?;
    set_windows(config, &mut spec)?;
    set_head_norms(&mut spec.tensors, ["self_attn.q_norm", "self_attn.k_norm"]);
    config::read_attention_bias(source, &mut spec)?;
    Ok(spec)
}

/// GGUF's `qwen2`.
pub(super) fn qwen2_from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    refusals::check_not_gemma(keys)?;
    gguf::check_no_window(keys)?;
    let mut spec = gguf::decoder(source)?;
    names::add_attention_biases(&mut spec.tensors);
    Ok(spec)
}

/// GGUF's `qwen3`.
pub(super) fn qwen3_from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    refusals::check_not_gemma(keys)?;
    gguf::check_no_window(keys)?;
    let mut spec = gguf::decoder(source)?;
    set_head_norms(&mut spec.tensors, ["attn_q_norm", "attn_k_norm"]);
    gguf::find_attention_bias(source, &mut spec);
    Ok(spec)
}

/// Norms on the heads of Q and K; `stems` are their names inside a layer.
pub(super) fn set_head_norms(names: &mut TensorNames, stems: [&str; 2]) {
    let layer = names::layer_prefix(names);
    let [query, key] = stems.map(|stem| format!("{layer}{stem}.weight"));
    names.layer.query_norm = Some(query);
    names.layer.key_norm = Some(key);
}

/// `layer_types`, else all layers from `max_window_layers` on; only while `use_sliding_window` is on.
fn set_windows(config: &Fields, spec: &mut ModelSpec) -> Result<()> {
    let is_on = config.boolean("use_sliding_window")?.unwrap_or(false);
    let window = config::sliding_window(config, Some(4096))?.filter(|_| is_on);
    let first = config
        .integer("max_window_layers", 0..=1 << 20)?
        .unwrap_or(28) as usize;
    let kinds = config::layer_kinds(config, spec.layers.len())?;
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let slides = match &kinds {
            Some(kinds) => kinds[index] == LayerKind::Sliding,
            None => index >= first,
        };
        layer.window = window.filter(|_| slides);
    }
    Ok(())
}
