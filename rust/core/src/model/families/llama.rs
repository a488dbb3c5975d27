//! Llama 2 and 3, SmolLM2 and Mistral: the plain decoder.

use super::config::{self, Defaults};
use super::source::{ConfigSource, GgufSource};
use super::{gguf, refusals};
use crate::Result;
use crate::model::spec::ModelSpec;

/// Llama's and SmolLM2's config.json.
pub(super) fn from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_not_gemma(config)?;
    let mut spec = config::decoder(source, &config::LLAMA)?;
    config::set_window(config, &mut spec, None)?;
    config::read_attention_bias(source, &mut spec)?;
    Ok(spec)
}

/// Mistral's config.json: a window over all layers.
pub(super) fn mistral_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_not_gemma(config)?;
    refusals::check_no_attention_bias(config)?;
    let defaults = Defaults {
        num_kv_heads: Some(8),
        max_context: 131_072,
        ..config::LLAMA
    };
    let mut spec = config::decoder(source, &defaults)?;
    let window = config::sliding_window(config, Some(4096))?;
    config::set_window(config, &mut spec, window)?;
    Ok(spec)
}

/// GGUF's `llama`, which is Mistral's too.
pub(super) fn from_gguf(source: &GgufSource) -> Result<ModelSpec> {
    let keys = &source.fields();
    refusals::check_not_gemma(keys)?;
    let mut spec = gguf::decoder(source)?;
    if spec.ropes[0].dimensions != spec.head_dim {
        let rule = format!("must equal the width of a head, {}", spec.head_dim);
        return Err(keys.refuse("rope.dimension_count", &rule));
    }
    gguf::set_window(keys, &mut spec)?;
    gguf::find_attention_bias(source, &mut spec);
    Ok(spec)
}
