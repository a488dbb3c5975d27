//! Fields that change what a model computes and that this engine has no place for.
//!
//! A field that is present with a value that changes nothing is let through; any other value is
//! refused by name, since a model that is read without it would answer, wrongly.

use serde_json::Value;

use super::fields::Fields;
use crate::Result;

/// The values with which a field changes nothing (absence and `null` always do).
#[derive(Clone, Copy)]
enum Neutral {
    Never,
    False,
    Zero,
    One,
    ZeroOrOne,
    True,
}

impl Neutral {
    fn admits(self, value: &Value) -> bool {
        let number = value.as_f64();
        match self {
            Neutral::Never => false,
            Neutral::False => value.as_bool() == Some(false),
            Neutral::True => value.as_bool() == Some(true),
            Neutral::Zero => number == Some(0.0),
            Neutral::One => number == Some(1.0),
            Neutral::ZeroOrOne => number == Some(0.0) || number == Some(1.0),
        }
    }
}

const EXPERTS: &str = "mixtures of experts are not supported";
const FACTOR: &str = "this factor is not supported";
const NOT_DECODER: &str = "only text-only decoders are supported";
const ATTENTION: &str = "this kind of attention is not supported";
const CAP: &str = "this family has no soft caps";

/// Refused in config.json of every family.
const CONFIG: [(&str, Neutral, &str); 34] = [
    (
        "quantization_config",
        Neutral::Never,
        "weights quantized by other tools (GPTQ, AWQ, bitsandbytes, ...) are not read; use the \
         original weights or a GGUF file",
    ),
    (
        "compression_config",
        Neutral::Never,
        "compressed weights are not read; use the original weights or a GGUF file",
    ),
    ("num_local_experts", Neutral::Zero, EXPERTS),
    ("num_experts", Neutral::Zero, EXPERTS),
    ("n_routed_experts", Neutral::Zero, EXPERTS),
    (
        "mlp_bias",
        Neutral::False,
        "biases of the feed-forward half are not supported",
    ),
    ("logit_scale", Neutral::One, FACTOR),
    ("logits_scaling", Neutral::One, FACTOR),
    ("residual_multiplier", Neutral::One, FACTOR),
    ("embedding_multiplier", Neutral::One, FACTOR),
    ("attention_multiplier", Neutral::Never, FACTOR),
    ("scale_emb", Neutral::One, FACTOR),
    ("scale_depth", Neutral::Never, FACTOR),
    ("clip_qkv", Neutral::Never, ATTENTION),
    ("clamp_kqv", Neutral::Never, ATTENTION),
    ("qk_layernorm", Neutral::False, ATTENTION),
    ("use_qk_norm", Neutral::False, ATTENTION),
    ("alibi", Neutral::False, ATTENTION),
    ("use_mrope", Neutral::False, ATTENTION),
    ("mrope_section", Neutral::Never, ATTENTION),
    ("rope_interleave", Neutral::False, ATTENTION),
    ("no_rope_layers", Neutral::Never, ATTENTION),
    ("no_rope_layer_interval", Neutral::Never, ATTENTION),
    ("attention_chunk_size", Neutral::Never, ATTENTION),
    ("attn_temperature_tuning", Neutral::False, ATTENTION),
    ("use_bidirectional_attention", Neutral::False, ATTENTION),
    ("kv_lora_rank", Neutral::Zero, ATTENTION),
    ("q_lora_rank", Neutral::Zero, ATTENTION),
    ("is_encoder_decoder", Neutral::False, NOT_DECODER),
    ("add_cross_attention", Neutral::False, NOT_DECODER),
    ("text_config", Neutral::Never, NOT_DECODER),
    ("vision_config", Neutral::Never, NOT_DECODER),
    ("audio_config", Neutral::Never, NOT_DECODER),
    ("is_causal", Neutral::True, ATTENTION),
];

/// What only Gemma has, in files of either kind.
const GEMMA: [(&str, Neutral, &str); 3] = [
    ("attn_logit_softcapping", Neutral::Zero, CAP),
    ("final_logit_softcapping", Neutral::Zero, CAP),
    (
        "rope.freq_base_swa",
        Neutral::Never,
        "this family has one rotary embedding",
    ),
];

/// Refused in GGUF metadata of every family, outside `attention.` and `rope.`.
const GGUF: [(&str, Neutral, &str); 18] = [
    ("expert_count", Neutral::Zero, EXPERTS),
    ("expert_used_count", Neutral::Zero, EXPERTS),
    ("expert_shared_count", Neutral::Zero, EXPERTS),
    ("moe_every_n_layers", Neutral::Zero, EXPERTS),
    ("leading_dense_block_count", Neutral::Zero, EXPERTS),
    ("logit_scale", Neutral::ZeroOrOne, FACTOR),
    ("residual_scale", Neutral::ZeroOrOne, FACTOR),
    ("embedding_scale", Neutral::ZeroOrOne, FACTOR),
    ("activation_sparsity_scale", Neutral::Never, FACTOR),
    (
        "use_parallel_residual",
        Neutral::False,
        "parallel residuals are not supported",
    ),
    (
        "swin_norm",
        Neutral::False,
        "this kind of norm is not supported",
    ),
    (
        "swiglu_clamp_exp",
        Neutral::Never,
        "clamped activations are not supported",
    ),
    (
        "swiglu_clamp_shexp",
        Neutral::Never,
        "clamped activations are not supported",
    ),
    (
        "embedding_length_per_layer_input",
        Neutral::Zero,
        "embeddings by layer are not supported",
    ),
    ("full_attention_interval", Neutral::ZeroOrOne, ATTENTION),
    (
        "altup.num_inputs",
        Neutral::Zero,
        "this kind of residual is not supported",
    ),
    (
        "ssm.inner_size",
        Neutral::Zero,
        "state-space layers are not supported",
    ),
    (
        "shortconv.l_cache",
        Neutral::Zero,
        "convolution layers are not supported",
    ),
];

/// What is read under `attention.` and `rope.`; anything else there must be neutral.
const GGUF_READ: [&str; 22] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_log_multiplier",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor",
];

fn check(fields: &Fields, rows: &[(&str, Neutral, &str)]) -> Result<()> {
    for (key, neutral, reason) in rows {
        if let Some(value) = fields.get(key)
            && !neutral.admits(value)
        {
            return Err(fields.refuse(key, reason));
        }
    }
    Ok(())
}

/// Refuses what config.json asks for and no family has.
pub(super) fn check_config(config: &Fields) -> Result<()> {
    check(config, &CONFIG)
}

/// Refuses what only Gemma has, for the other families.
pub(super) fn check_not_gemma(fields: &Fields) -> Result<()> {
    check(fields, &GEMMA)
}

/// Refuses biases in attention, for families that have none.
pub(super) fn check_no_attention_bias(config: &Fields) -> Result<()> {
    let reason = "this family has no biases in attention";
    check(config, &[("attention_bias", Neutral::False, reason)])
}

/// Refuses what GGUF metadata ask for and no family has.
pub(super) fn check_gguf(keys: &Fields) -> Result<()> {
    check(keys, &GGUF)?;
    let one = "only 1 is supported: programs differ in what other values mean";
    check(
        keys,
        &[
            ("rope.scaling.yarn_ext_factor", Neutral::One, one),
            ("rope.scaling.yarn_attn_factor", Neutral::One, one),
            ("attention.causal", Neutral::True, NOT_DECODER),
        ],
    )?;
    for key in keys.keys() {
        let matters = key.starts_with("attention.") || key.starts_with("rope.");
        let is_read = GGUF_READ.contains(&key) || key == "attention.causal";
        let is_off = |value: &Value| {
            Neutral::Zero.admits(value) || Neutral::False.admits(value) || all_zero(value)
        };
        if matters && !is_read && !keys.get(key).is_some_and(is_off) {
            return Err(keys.refuse(key, "this key is not supported and would change the result"));
        }
    }
    Ok(())
}

fn all_zero(value: &Value) -> bool {
    let zero = |value: &Value| value.as_f64() == Some(0.0);
    value.as_array().is_some_and(|list| list.iter().all(zero))
}
