//! Folders of safetensors: candle's models in F32.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{gemma2, gemma3, llama, mistral, phi3, qwen2, qwen3};
use ruvllm_core::model::spec::{AttentionInput, ModelSpec, RopeScaling};
use ruvllm_core::{Error, Result};
use ruvllm_formats::ModelFiles;
use ruvllm_kernels::Activation as Gate;

use super::Fit;
use super::refusals::{
    activation, biases, plain_heads, plain_rope, plain_scale, plain_scores, refused, unscaled,
    whole_heads, within_windows,
};
use crate::failure;
use crate::network::{Llama, Mistral, Network};
use crate::weights::{has_own_head, tensors};

type Weights = HashMap<String, Tensor>;
type Loaded = candle_core::Result<Box<dyn Network>>;

/// What config.json calls the family.
fn model_type(files: &ModelFiles) -> &str {
    let named = files.config().and_then(|config| config.get("model_type"));
    named.and_then(|name| name.as_str()).unwrap_or_default()
}

/// Whether candle computes what the folder says.
pub(super) fn fit(files: &ModelFiles, spec: &ModelSpec) -> Result<Fit> {
    let family = model_type(files);
    if !matches!(family, "gemma2" | "gemma3_text") {
        plain_scores(spec)?;
    }
    if family != "phi3" {
        biases(spec, family == "qwen2")?;
    }
    let is_gemma = family.starts_with("gemma");
    let wanted = if is_gemma { Gate::GeluTanh } else { Gate::Silu };
    activation(spec, wanted)?;
    match family {
        "llama" => {
            plain_heads(spec)?;
            llama_rope(spec)?;
        }
        // Its masks are ours.
        "mistral" => {
            plain_rope(spec)?;
            return Ok(Fit { limit: None });
        }
        "qwen2" => {
            plain_heads(spec)?;
            plain_rope(spec)?;
        }
        "qwen3" => {
            plain_rope(spec)?;
        }
        "phi3" => {
            plain_heads(spec)?;
            for rope in &spec.ropes {
                unscaled(spec, rope)?;
            }
        }
        "gemma2" => {
            plain_rope(spec)?;
            tied(files, spec)?;
        }
        "gemma3_text" => {
            for rope in &spec.ropes {
                whole_heads(spec, rope)?;
                unscaled(spec, rope)?;
            }
            // Behind the norm of its queries a factor in their weights would be lost.
            plain_scale(spec)?;
            local_period(spec)?;
            tied(files, spec)?;
        }
        other => {
            let known = "llama, mistral, qwen2, qwen3, phi3, gemma2 and gemma3_text";
            let what = format!("of folders it has {known}, not '{other}'");
            return Err(refused(spec, &what));
        }
    }
    Ok(within_windows(spec))
}

/// The model with its weights, and their bytes.
pub(super) fn load(
    files: &ModelFiles,
    spec: &ModelSpec,
    max_context: usize,
    device: &Device,
) -> Result<(Box<dyn Network>, u64)> {
    let (mut weights, bytes) = tensors(files, spec, device)?;
    let is_tied = !has_own_head(files);
    if is_tied && !weights.contains_key("lm_head.weight") {
        // Some of candle's models ask for it in any case; it is another hold on the same bytes.
        let embedding = weights.get("model.embed_tokens.weight").cloned();
        weights.extend(embedding.map(|one| ("lm_head.weight".to_owned(), one)));
    }
    let context = max_context;
    let loaded = failure::caught(|| match model_type(files) {
        "llama" => load_llama(spec, context, weights, device),
        "mistral" => load_mistral(spec, context, weights, device),
        "qwen2" => load_qwen2(spec, context, weights, device),
        "qwen3" => load_qwen3(spec, context, weights, device),
        "phi3" => load_phi3(spec, context, weights, device),
        "gemma2" => load_gemma2(spec, context, weights, device),
        _ => load_gemma3(spec, context, weights, device),
    });
    Ok((loaded.map_err(|error| failure::loading(&error))?, bytes))
}

fn builder(weights: Weights, device: &Device) -> VarBuilder<'static> {
    VarBuilder::from_tensors(weights, DType::F32, device)
}

/// Llama 3's scaling is the one that candle has.
fn llama_rope(spec: &ModelSpec) -> Result<()> {
    let [rope] = &spec.ropes[..] else {
        return Err(refused(spec, "it has several rotary embeddings"));
    };
    whole_heads(spec, rope)?;
    match rope.scaling {
        RopeScaling::Llama3 { .. } => Ok(()),
        _ => unscaled(spec, rope),
    }
}

fn load_llama(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let rope = &spec.ropes[0];
    let rope_scaling = match rope.scaling {
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context,
        } => Some(llama::Llama3RopeConfig {
            factor,
            low_freq_factor: low_frequency_factor,
            high_freq_factor: high_frequency_factor,
            original_max_position_embeddings: original_context,
            rope_type: llama::Llama3RopeType::Llama3,
        }),
        _ => None,
    };
    let config = llama::Config {
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        vocab_size: spec.vocab_size,
        num_hidden_layers: spec.layers.len(),
        num_attention_heads: spec.num_heads,
        num_key_value_heads: spec.num_kv_heads,
        use_flash_attn: false,
        rms_norm_eps: f64::from(spec.norm_epsilon),
        rope_theta: rope.base,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling,
        // Its cache compares heads with this, too (0.11.1).
        max_position_embeddings: context.max(spec.num_kv_heads),
        tie_word_embeddings: false,
    };
    let cache = llama::Cache::new(true, DType::F32, &config, device)?;
    Ok(Box::new(Llama {
        model: llama::Llama::load(builder(weights, device), &config)?,
        fresh: cache.clone(),
        cache,
    }))
}

fn load_mistral(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let config = mistral::Config {
        vocab_size: spec.vocab_size,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_hidden_layers: spec.layers.len(),
        num_attention_heads: spec.num_heads,
        head_dim: Some(spec.head_dim),
        num_key_value_heads: spec.num_kv_heads,
        hidden_act: Activation::Silu,
        max_position_embeddings: context,
        rms_norm_eps: f64::from(spec.norm_epsilon),
        rope_theta: f64::from(spec.ropes[0].base),
        sliding_window: None,
        use_flash_attn: false,
    };
    Ok(Box::new(Mistral {
        model: mistral::Model::new(&config, builder(weights, device))?,
        window: spec.layers.iter().filter_map(|layer| layer.window).min(),
        device: device.clone(),
    }))
}

fn load_qwen2(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let config = qwen2::Config {
        vocab_size: spec.vocab_size,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_hidden_layers: spec.layers.len(),
        num_attention_heads: spec.num_heads,
        num_key_value_heads: spec.num_kv_heads,
        max_position_embeddings: context,
        sliding_window: context,
        max_window_layers: spec.layers.len(),
        tie_word_embeddings: false,
        rope_theta: f64::from(spec.ropes[0].base),
        rms_norm_eps: f64::from(spec.norm_epsilon),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let weights = builder(weights, device);
    Ok(Box::new(qwen2::ModelForCausalLM::new(&config, weights)?))
}

fn load_qwen3(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let config = qwen3::Config {
        vocab_size: spec.vocab_size,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_hidden_layers: spec.layers.len(),
        num_attention_heads: spec.num_heads,
        head_dim: spec.head_dim,
        attention_bias: false,
        num_key_value_heads: spec.num_kv_heads,
        max_position_embeddings: context,
        sliding_window: None,
        max_window_layers: spec.layers.len(),
        tie_word_embeddings: false,
        rope_theta: f64::from(spec.ropes[0].base),
        rms_norm_eps: f64::from(spec.norm_epsilon),
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let weights = builder(weights, device);
    Ok(Box::new(qwen3::ModelForCausalLM::new(&config, weights)?))
}

fn load_phi3(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let rope = &spec.ropes[0];
    let config = phi3::Config {
        vocab_size: spec.vocab_size,
        hidden_act: Activation::Silu,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_hidden_layers: spec.layers.len(),
        num_attention_heads: spec.num_heads,
        num_key_value_heads: spec.num_kv_heads,
        rms_norm_eps: f64::from(spec.norm_epsilon),
        rope_theta: f64::from(rope.base),
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: None,
        max_position_embeddings: context,
        original_max_position_embeddings: None,
        partial_rotary_factor: (rope.dimensions < spec.head_dim)
            .then(|| rope.dimensions as f64 / spec.head_dim as f64),
        tie_word_embeddings: false,
    };
    Ok(Box::new(phi3::Model::new(
        &config,
        builder(weights, device),
    )?))
}

/// The head of candle's Gemmas is the embedding, whatever else a file has.
fn tied(files: &ModelFiles, spec: &ModelSpec) -> Result<()> {
    if has_own_head(files) {
        return Err(refused(spec, "it has a head beside its embedding"));
    }
    Ok(())
}

/// Candle's Gemma 2 scales scores by the heads' width; what a model has otherwise goes into its queries.
fn scale_queries(spec: &ModelSpec, weights: &mut Weights) -> candle_core::Result<()> {
    let factor = f64::from(spec.attention_scale) * (spec.head_dim as f64).sqrt();
    let AttentionInput::Split { query, .. } = &spec.tensors.layer.attention_input else {
        return Ok(());
    };
    if (factor - 1.0).abs() < 1e-6 {
        return Ok(());
    }
    for layer in 0..spec.layers.len() {
        if let Some(tensor) = weights.get_mut(&query.replace("{}", &layer.to_string())) {
            *tensor = (&*tensor * factor)?;
        }
    }
    Ok(())
}

fn load_gemma2(spec: &ModelSpec, context: usize, mut weights: Weights, device: &Device) -> Loaded {
    scale_queries(spec, &mut weights)?;
    let config = gemma2::Config {
        attention_bias: false,
        head_dim: spec.head_dim,
        hidden_activation: Activation::GeluPytorchTanh,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_attention_heads: spec.num_heads,
        num_hidden_layers: spec.layers.len(),
        num_key_value_heads: spec.num_kv_heads,
        rms_norm_eps: f64::from(spec.norm_epsilon),
        rope_theta: f64::from(spec.ropes[0].base),
        vocab_size: spec.vocab_size,
        final_logit_softcapping: spec.final_soft_cap.map(f64::from),
        attn_logit_softcapping: spec.attention_soft_cap.map(f64::from),
        query_pre_attn_scalar: spec.head_dim,
        // The context ends before a window does.
        sliding_window: None,
        max_position_embeddings: context,
    };
    let weights = builder(weights, device);
    Ok(Box::new(gemma2::Model::new(false, &config, weights)?))
}

/// Every so many layers there is one with the global rotary embedding, the first of the spec.
fn local_period(spec: &ModelSpec) -> Result<usize> {
    let is_global = |index: usize| spec.layers[index].rope == 0;
    let layers = spec.layers.len();
    let period = (0..layers)
        .find(|index| is_global(*index))
        .map_or(layers + 1, |index| index + 1);
    if (0..layers).all(|index| is_global(index) == (index + 1).is_multiple_of(period)) {
        return Ok(period);
    }
    Err(refused(
        spec,
        "its layers with a window follow one another in no period",
    ))
}

fn load_gemma3(spec: &ModelSpec, context: usize, weights: Weights, device: &Device) -> Loaded {
    let period =
        local_period(spec).map_err(|error: Error| candle_core::Error::Msg(error.to_string()))?;
    let base = |index: usize| spec.ropes.get(index).or(spec.ropes.first());
    let base = |index: usize| base(index).map_or(0.0, |rope| f64::from(rope.base));
    let config = gemma3::Config {
        attention_bias: false,
        head_dim: spec.head_dim,
        hidden_activation: Activation::GeluPytorchTanh,
        hidden_size: spec.hidden_size,
        intermediate_size: spec.feed_forward_size,
        num_attention_heads: spec.num_heads,
        num_hidden_layers: spec.layers.len(),
        num_key_value_heads: spec.num_kv_heads,
        rms_norm_eps: f64::from(spec.norm_epsilon),
        rope_theta: base(0),
        rope_local_base_freq: base(1),
        vocab_size: spec.vocab_size,
        final_logit_softcapping: spec.final_soft_cap.map(f64::from),
        attn_logit_softcapping: spec.attention_soft_cap.map(f64::from),
        query_pre_attn_scalar: spec.head_dim,
        // The context ends before a window does.
        sliding_window: context,
        sliding_window_pattern: period,
        max_position_embeddings: context,
    };
    let weights = builder(weights, device);
    Ok(Box::new(gemma3::Model::new(false, &config, weights)?))
}
