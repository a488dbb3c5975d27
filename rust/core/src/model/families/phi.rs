//! Phi-3 and 3.5: Q, K and V in one matrix, gate and up in another, long RoPE.

use super::config::{self, Defaults};
use super::source::{ConfigSource, GgufSource};
use super::{gguf, names, refusals};
use crate::Result;
use crate::model::spec::{AttentionInput, FeedForwardInput, ModelSpec};

const DEFAULTS: Defaults = Defaults {
    max_context: 4096,
    original_context: Some(4096),
    norm_epsilon: 1e-5,
    end: Some(32_000),
    ..config::LLAMA
};

/// Phi-3's config.json.
pub(super) fn from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_not_gemma(config)?;
    refusals::check_no_attention_bias(config)?;
    let mut spec = config::decoder(source, &DEFAULTS)?;
    let window = config::sliding_window(config, None)?;
    config::set_window(config, &mut spec, window)?;
    fuse(&mut spec, "self_attn.qkv_proj", "mlp.gate_up_proj");
    Ok(spec)
}

/// GGUF's `phi3`; its `ffn_up` holds gate over up.
pub(super) fn from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    refusals::check_not_gemma(keys)?;
    let mut spec = gguf::decoder(source)?;
    gguf::set_window(keys, &mut spec)?;
    fuse(&mut spec, "attn_qkv", "ffn_up");
    Ok(spec)
}

fn fuse(spec: &mut ModelSpec, attention: &str, feed_forward: &str) {
    let prefix = names::layer_prefix(&spec.tensors);
    let layer = &mut spec.tensors.layer;
    layer.attention_input = AttentionInput::Fused(format!("{prefix}{attention}.weight"));
    layer.feed_forward_input = FeedForwardInput::Fused(format!("{prefix}{feed_forward}.weight"));
}
