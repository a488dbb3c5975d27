//! Gemma 2 and 3 (text): scaled embeddings, GeGLU, norms around both halves, alternating windows.
//!
//! Gemma 2 caps its scores and logits; Gemma 3 norms the heads of Q and K instead, and turns the
//! layers with a window by a RoPE of their own. Its files still have the setting for a cap on scores,
//! but neither transformers nor llama.cpp use it; the cap on logits they do.

use ruvllm_kernels::Activation;

use super::config::{self, Defaults, LayerKind};
use super::fields::Fields;
use super::qwen::set_head_norms;
use super::rope_config::{self, RopeDefaults};
use super::source::{ConfigSource, GgufSource};
use super::{gguf, limits, names};
use crate::Result;
use crate::model::spec::{ModelSpec, RopeScaling, RopeSpec};

const DEFAULTS: Defaults = Defaults {
    num_kv_heads: Some(4),
    head_dim: Some(256),
    max_context: 8192,
    tied: true,
    activation_key: "hidden_activation",
    activation: Activation::GeluTanh,
    begin: Some(2),
    end: Some(1),
    ..config::LLAMA
};

/// The window where config.json or the metadata name none.
const WINDOW: usize = 4096;
/// Every so many layers, Gemma 2 has one that sees everything.
const GEMMA2_PERIOD: u64 = 2;
/// The same in Gemma 3.
const GEMMA3_PERIOD: u64 = 6;
/// The RoPE base of Gemma 3's layers with a window.
const LOCAL_BASE: f64 = 10_000.0;

/// Gemma 2's config.json.
pub(super) fn gemma2_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    let mut spec = config::decoder(source, &DEFAULTS)?;
    finish_config(source, &mut spec, [Some(50.0), Some(30.0)])?;
    let kinds = config::layer_kinds(config, spec.layers.len())?
        .unwrap_or_else(|| pattern(GEMMA2_PERIOD, spec.layers.len()));
    set_windows(
        &mut spec,
        &kinds,
        config::sliding_window(config, Some(WINDOW))?,
    );
    Ok(spec)
}

/// Gemma 3's config.json (text only).
pub(super) fn gemma3_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    let defaults = Defaults {
        max_context: 131_072,
        rope_base: 1_000_000.0,
        ropes: gemma3_ropes,
        ..DEFAULTS
    };
    let mut spec = config::decoder(source, &defaults)?;
    finish_config(source, &mut spec, [None, None])?;
    spec.attention_soft_cap = None;
    set_head_norms(&mut spec.tensors, ["self_attn.q_norm", "self_attn.k_norm"]);
    let period = match config.integer("sliding_window_pattern", 1..=1024)? {
        Some(period) => Some(period),
        None => config.integer("_sliding_window_pattern", 1..=1024)?,
    };
    let kinds = config::layer_kinds(config, spec.layers.len())?
        .unwrap_or_else(|| pattern(period.unwrap_or(GEMMA3_PERIOD), spec.layers.len()));
    set_windows(
        &mut spec,
        &kinds,
        config::sliding_window(config, Some(WINDOW))?,
    );
    use_local_rope(&mut spec, &kinds);
    Ok(spec)
}

/// GGUF's `gemma2`.
pub(super) fn gemma2_from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    let mut spec = gguf::decoder(source)?;
    finish_gguf(keys, &mut spec, [Some(50.0), Some(30.0)], 46)?;
    let kinds = gguf_pattern(keys, GEMMA2_PERIOD, spec.layers.len())?;
    // Absent: the published models' window. Zero: none.
    let window = match keys.get("attention.sliding_window") {
        None => Some(WINDOW),
        Some(_) => gguf::sliding_window(keys)?,
    };
    set_windows(&mut spec, &kinds, window);
    if let Some(base) = keys.number("rope.freq_base_swa", limits::ROPE_BASE)? {
        let local = RopeSpec {
            base: base as f32,
            ..spec.ropes[0].clone()
        };
        spec.ropes.push(local);
        use_local_rope(&mut spec, &kinds);
    }
    Ok(spec)
}

/// GGUF's `gemma3`.
pub(super) fn gemma3_from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    let mut spec = gguf::decoder(source)?;
    finish_gguf(keys, &mut spec, [None, None], 62)?;
    spec.attention_soft_cap = None;
    set_head_norms(&mut spec.tensors, ["attn_q_norm", "attn_k_norm"]);
    // Without a window all layers are alike, and turn by the global RoPE.
    if let Some(window) = gguf::sliding_window(keys)? {
        let kinds = gguf_pattern(keys, GEMMA3_PERIOD, spec.layers.len())?;
        set_windows(&mut spec, &kinds, Some(window));
        let base = keys.number("rope.freq_base_swa", limits::ROPE_BASE)?;
        let dimensions = spec.ropes[0].dimensions;
        spec.ropes
            .push(local_rope(base.unwrap_or(LOCAL_BASE), dimensions));
        use_local_rope(&mut spec, &kinds);
    }
    Ok(spec)
}

/// What both generations share in config.json; `caps` are the defaults on scores and logits.
fn finish_config(
    source: &ConfigSource,
    spec: &mut ModelSpec,
    caps: [Option<f64>; 2],
) -> Result<()> {
    let config = &source.fields();
    finish(spec);
    // Safetensors files hold weight - 1; GGUF files hold the weight.
    spec.norm_weight_offset = 1.0;
    let scalar = config.number("query_pre_attn_scalar", limits::FACTOR)?;
    spec.attention_scale = config::inverse_root(scalar.unwrap_or(256.0));
    let cap = |key: &str, default: Option<f64>| {
        let default = default.filter(|_| !config.is_null(key));
        let cap = config.number(key, limits::FACTOR)?.or(default);
        Ok::<_, crate::Error>(cap.map(|cap| cap as f32))
    };
    spec.attention_soft_cap = cap("attn_logit_softcapping", caps[0])?;
    spec.final_soft_cap = cap("final_logit_softcapping", caps[1])?;
    let prefix = names::layer_prefix(&spec.tensors);
    let layer = &mut spec.tensors.layer;
    layer.post_attention_norm = Some(format!("{prefix}post_attention_layernorm.weight"));
    layer.feed_forward_norm = format!("{prefix}pre_feedforward_layernorm.weight");
    layer.post_feed_forward_norm = Some(format!("{prefix}post_feedforward_layernorm.weight"));
    config::read_attention_bias(source, spec)
}

/// The same in GGUF; `largest` is the number of layers of the family's 27B model.
fn finish_gguf(
    keys: &Fields,
    spec: &mut ModelSpec,
    caps: [Option<f64>; 2],
    largest: usize,
) -> Result<()> {
    finish(spec);
    spec.activation = Activation::GeluTanh;
    // The 27B models scale by the width that a head would have, not by the one it has; the files do
    // not say so, and llama.cpp knows these models by their depth.
    if spec.layers.len() == largest {
        let width = spec.hidden_size / spec.num_heads;
        spec.attention_scale = config::inverse_root(width as f64);
    }
    let cap = |key: &str, default: Option<f64>| {
        let cap = keys.number(key, 0.0..=*limits::FACTOR.end())?.or(default);
        Ok::<_, crate::Error>(cap.filter(|cap| *cap > 0.0).map(|cap| cap as f32))
    };
    spec.attention_soft_cap = cap("attn_logit_softcapping", caps[0])?;
    spec.final_soft_cap = cap("final_logit_softcapping", caps[1])?;
    let prefix = names::layer_prefix(&spec.tensors);
    let layer = &mut spec.tensors.layer;
    layer.post_attention_norm = Some(format!("{prefix}post_attention_norm.weight"));
    layer.post_feed_forward_norm = Some(format!("{prefix}post_ffw_norm.weight"));
    Ok(())
}

fn finish(spec: &mut ModelSpec) {
    spec.embedding_scale = (spec.hidden_size as f32).sqrt();
}

/// The last layer of every period sees everything.
fn pattern(period: u64, num_layers: usize) -> Vec<LayerKind> {
    (1..=num_layers as u64)
        .map(|layer| LayerKind::sliding(!layer.is_multiple_of(period)))
        .collect()
}

/// The pattern that the file names, as a period or layer by layer, else the family's.
fn gguf_pattern(keys: &Fields, period: u64, num_layers: usize) -> Result<Vec<LayerKind>> {
    const KEY: &str = "attention.sliding_window_pattern";
    if !keys.get(KEY).is_some_and(serde_json::Value::is_array) {
        let period = keys.integer(KEY, 1..=1024)?.unwrap_or(period);
        return Ok(pattern(period, num_layers));
    }
    let slides = keys.booleans(KEY)?.unwrap_or_default();
    if slides.len() != num_layers {
        let rule = format!(
            "{} entries; there must be one a layer, {num_layers}",
            slides.len()
        );
        return Err(keys.refuse(KEY, &rule));
    }
    Ok(slides.into_iter().map(LayerKind::sliding).collect())
}

fn set_windows(spec: &mut ModelSpec, kinds: &[LayerKind], window: Option<usize>) {
    for (layer, kind) in spec.layers.iter_mut().zip(kinds) {
        layer.window = window.filter(|_| *kind == LayerKind::Sliding);
    }
}

/// Layers with a window turn by the second RoPE.
fn use_local_rope(spec: &mut ModelSpec, kinds: &[LayerKind]) {
    for (layer, kind) in spec.layers.iter_mut().zip(kinds) {
        layer.rope = usize::from(*kind == LayerKind::Sliding);
    }
}

fn local_rope(base: f64, dimensions: usize) -> RopeSpec {
    RopeSpec {
        base: base as f32,
        dimensions,
        scaling: RopeScaling::None,
    }
}

/// The global and the local RoPE: an object each in `rope_parameters`, or the older flat keys.
fn gemma3_ropes(config: &Fields, global: RopeDefaults) -> Result<Vec<RopeSpec>> {
    let local = RopeDefaults {
        base: LOCAL_BASE,
        ..global
    };
    let (global_key, local_key) = ("rope_theta", "rope_local_base_freq");
    rope_config::check_one_generation(config)?;
    let Some(both) = rope_config::non_empty(config, "rope_parameters")? else {
        let scaling = rope_config::non_empty(config, "rope_scaling")?;
        return Ok(vec![
            rope_config::rope(config, scaling.as_ref(), global_key, global)?,
            rope_config::rope(config, None, local_key, local)?,
        ]);
    };
    let known = ["full_attention", "sliding_attention"];
    if let Some(key) = both.keys().find(|key| !known.contains(key)) {
        return Err(both.refuse(key, "known are full_attention and sliding_attention"));
    }
    let [full, sliding] = [both.section(known[0])?, both.section(known[1])?];
    Ok(vec![
        rope_config::rope(config, full.as_ref(), global_key, global)?,
        rope_config::rope(config, sliding.as_ref(), local_key, local)?,
    ])
}
