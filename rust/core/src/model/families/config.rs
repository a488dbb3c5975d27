//! The part of config.json that every family shares, as a plain Llama-like decoder.
//!
//! A family calls [`decoder`] with the defaults of its Hugging Face class and changes in the result
//! what it does differently.

use ruvllm_kernels::Activation;

use super::fields::Fields;
use super::rope_config::{self, RopeDefaults};
use super::source::ConfigSource;
use super::{limits, names, refusals};
use crate::Result;
use crate::model::spec::{
    LayerSpec, ModelSpec, RopeSpec, RotaryLayout, SpecialTokens, TensorNames,
};

/// What a family's Hugging Face class takes where config.json says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults {
    /// `None`: as many as query heads.
    pub(super) num_kv_heads: Option<usize>,
    /// `None`: hidden size over query heads.
    pub(super) head_dim: Option<usize>,
    pub(super) max_context: usize,
    pub(super) norm_epsilon: f64,
    pub(super) rope_base: f64,
    pub(super) original_context: Option<usize>,
    pub(super) ropes: fn(&Fields, RopeDefaults) -> Result<Vec<RopeSpec>>,
    pub(super) tied: bool,
    pub(super) activation_key: &'static str,
    pub(super) activation: Activation,
    pub(super) begin: Option<u32>,
    pub(super) end: Option<u32>,
}

/// Llama's; the other families name what differs.
pub(super) const LLAMA: Defaults = Defaults {
    num_kv_heads: None,
    head_dim: None,
    max_context: 2048,
    norm_epsilon: 1e-6,
    rope_base: 10_000.0,
    original_context: None,
    ropes: rope_config::single,
    tied: false,
    activation_key: "hidden_act",
    activation: Activation::Silu,
    begin: Some(1),
    end: Some(2),
};

/// The kinds of layers that `layer_types` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// Attends to everything before.
    Full,
    /// Attends within the window.
    Sliding,
}

impl LayerKind {
    pub(super) fn sliding(slides: bool) -> Self {
        if slides {
            LayerKind::Sliding
        } else {
            LayerKind::Full
        }
    }
}

/// A decoder with one RoPE and no windows.
pub(super) fn decoder(source: &ConfigSource, defaults: &Defaults) -> Result<ModelSpec> {
    let config = &source.fields();
    refusals::check_config(config)?;
    let hidden_size = config.required_count("hidden_size", limits::WIDTH)?;
    let num_heads = config.required_count("num_attention_heads", limits::HEADS)?;
    let num_layers = config.required_count("num_hidden_layers", limits::LAYERS)?;
    let head_dim = head_dim(config, defaults, hidden_size, num_heads)?;
    let max_context = config
        .count("max_position_embeddings", limits::CONTEXT)?
        .unwrap_or(defaults.max_context);
    let rope = RopeDefaults {
        base: defaults.rope_base,
        head_dim,
        max_context,
        original_context: defaults.original_context,
    };
    let (tensors, consumed_tensors) = tensor_names(source, config, defaults)?;
    let epsilon = config.number("rms_norm_eps", limits::EPSILON)?;
    Ok(ModelSpec {
        architecture: architecture(config)?,
        name: config
            .text("_name_or_path")?
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        vocab_size: config.required_count("vocab_size", limits::WIDTH)?,
        hidden_size,
        feed_forward_size: config.required_count("intermediate_size", limits::WIDTH)?,
        num_heads,
        num_kv_heads: num_kv_heads(config, defaults, num_heads)?,
        head_dim,
        max_context,
        norm_epsilon: epsilon.unwrap_or(defaults.norm_epsilon) as f32,
        norm_weight_offset: 0.0,
        activation: activation(config, defaults)?,
        embedding_scale: 1.0,
        attention_scale: inverse_root(head_dim as f64),
        attention_soft_cap: None,
        final_soft_cap: None,
        ropes: (defaults.ropes)(config, rope)?,
        layers: vec![
            LayerSpec {
                window: None,
                rope: 0
            };
            num_layers
        ],
        rotary_layout: RotaryLayout::Halves,
        tensors,
        consumed_tensors,
        special_tokens: special_tokens(source, defaults)?,
    })
}

/// `1 / sqrt(value)`, rounded once.
pub(super) fn inverse_root(value: f64) -> f32 {
    (1.0 / value.sqrt()) as f32
}

/// `architectures`' first entry, else `model_type`.
fn architecture(config: &Fields) -> Result<String> {
    let listed = config.texts("architectures")?.unwrap_or_default();
    let named = match listed.first() {
        Some(first) => Some(*first),
        None => config.text("model_type")?,
    };
    Ok(named.unwrap_or_default().to_owned())
}

fn head_dim(config: &Fields, defaults: &Defaults, hidden: usize, heads: usize) -> Result<usize> {
    let given = config.count("head_dim", limits::HEAD_DIM)?;
    match given.or(defaults.head_dim) {
        Some(head_dim) => Ok(head_dim),
        None if hidden.is_multiple_of(heads) => Ok(hidden / heads),
        None => Err(config.refuse(
            "num_attention_heads",
            &format!("must divide `hidden_size`, {hidden}, as there is no `head_dim`"),
        )),
    }
}

fn num_kv_heads(config: &Fields, defaults: &Defaults, num_heads: usize) -> Result<usize> {
    const KEY: &str = "num_key_value_heads";
    let given = config.count(KEY, limits::HEADS)?;
    // `null` means "as many as query heads" in every class, absence is the class's default.
    let implied = match defaults.num_kv_heads {
        Some(implied) if !config.is_null(KEY) => implied,
        _ => num_heads,
    };
    let num_kv_heads = given.unwrap_or(implied);
    if num_heads.is_multiple_of(num_kv_heads) {
        Ok(num_kv_heads)
    } else {
        let rule = format!("{num_kv_heads} must divide `num_attention_heads`, {num_heads}");
        Err(config.refuse(KEY, &rule))
    }
}

fn activation(config: &Fields, defaults: &Defaults) -> Result<Activation> {
    match config.text(defaults.activation_key)? {
        None => Ok(defaults.activation),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu_pytorch_tanh" | "gelu_new" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some(_) => Err(config.refuse(
            defaults.activation_key,
            "known activations are silu and gelu_pytorch_tanh",
        )),
    }
}

/// The names of the weights, and of stored tensors that are none.
fn tensor_names(
    source: &ConfigSource,
    config: &Fields,
    defaults: &Defaults,
) -> Result<(TensorNames, Vec<String>)> {
    let mut tensors = names::safetensors();
    tensors.tied = config
        .boolean("tie_word_embeddings")?
        .unwrap_or(defaults.tied);
    // The frequencies that old programs stored in every layer.
    let stored = source.tensors.names().into_iter();
    let unread = stored.filter(|name| name.ends_with(".rotary_emb.inv_freq"));
    Ok((tensors, unread.map(str::to_owned).collect()))
}

fn special_tokens(source: &ConfigSource, defaults: &Defaults) -> Result<SpecialTokens> {
    let config = source.fields();
    let generation = source.generation_fields();
    let read = |key: &str, default: Option<u32>| -> Result<Vec<u32>> {
        let generated = generation.as_ref().map(|fields| fields.token_ids(key));
        if let Some(ids) = generated.transpose()?.flatten() {
            return Ok(ids);
        }
        let default = default.filter(|_| !config.is_null(key));
        Ok(config
            .token_ids(key)?
            .unwrap_or_else(|| default.into_iter().collect()))
    };
    Ok(SpecialTokens {
        begin: read("bos_token_id", defaults.begin)?.first().copied(),
        end: read("eos_token_id", defaults.end)?,
    })
}

/// `layer_types`, if the file has it.
pub(super) fn layer_kinds(config: &Fields, num_layers: usize) -> Result<Option<Vec<LayerKind>>> {
    const KEY: &str = "layer_types";
    let Some(kinds) = config.texts(KEY)? else {
        return Ok(None);
    };
    if kinds.len() != num_layers {
        let count = kinds.len();
        let rule = format!("{count} entries; there must be one for each of {num_layers} layers");
        return Err(config.refuse(KEY, &rule));
    }
    let kind = |name: &&str| match *name {
        "full_attention" => Ok(LayerKind::Full),
        "sliding_attention" => Ok(LayerKind::Sliding),
        other => Err(config.refuse(
            KEY,
            &format!("holds `{other}`; known are full_attention and sliding_attention"),
        )),
    };
    kinds.iter().map(kind).collect::<Result<_>>().map(Some)
}

/// `sliding_window`: how many positions a query sees, itself included.
pub(super) fn sliding_window(config: &Fields, default: Option<usize>) -> Result<Option<usize>> {
    const KEY: &str = "sliding_window";
    let default = default.filter(|_| !config.is_null(KEY));
    Ok(config.count(KEY, limits::CONTEXT)?.or(default))
}

/// Gives every layer the same window, and refuses `layer_types` that say otherwise.
pub(super) fn set_window(
    config: &Fields,
    spec: &mut ModelSpec,
    window: Option<usize>,
) -> Result<()> {
    let implied = match window {
        Some(_) => LayerKind::Sliding,
        None => LayerKind::Full,
    };
    let kinds = layer_kinds(config, spec.layers.len())?.unwrap_or_default();
    if kinds.iter().any(|kind| *kind != implied) {
        let rule = "all layers of this family are of the kind that `sliding_window` implies";
        return Err(config.refuse("layer_types", rule));
    }
    for layer in &mut spec.layers {
        layer.window = window;
    }
    Ok(())
}

/// Biases of Q, K and V where `attention_bias` says so.
///
/// The classes with that switch give the output projection a bias too; a file that holds one is
/// refused, since the decoder has no place for it.
pub(super) fn read_attention_bias(source: &ConfigSource, spec: &mut ModelSpec) -> Result<()> {
    const KEY: &str = "attention_bias";
    let config = source.fields();
    if config.boolean(KEY)? != Some(true) {
        return Ok(());
    }
    let output = names::bias_of(&names::in_first_layer(&spec.tensors.layer.attention_output));
    if source.tensors.has(&output) {
        let rule = format!("the bias `{output}` of attention's output is not supported");
        return Err(config.refuse(KEY, &rule));
    }
    names::add_attention_biases(&mut spec.tensors);
    Ok(())
}
