//! What a file may not ask for: every row holds the changes to a good file, and what the message must
//! name.

use serde_json::{Value, json};

use crate::configs;
use crate::files::{Tensors, changed, config_spec, gguf_spec, message};

type Row = (&'static str, &'static [&'static str]);

/// Tries every row, then reports all that were accepted or gave another message.
fn check(rows: &[Row], outcome: impl Fn(&Value) -> Option<String>) {
    let mut failures = Vec::new();
    for (changes, parts) in rows {
        let changes = serde_json::from_str(changes).expect("a row of JSON");
        match outcome(&changes) {
            Some(message) if parts.iter().all(|part| message.contains(part)) => {}
            Some(message) => {
                failures.push(format!("{changes}: `{message}` lacks one of {parts:?}"));
            }
            None => failures.push(format!("{changes}: accepted")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn check_config(base: &Value, rows: &[Row]) {
    check(rows, |changes| {
        message(config_spec(&changed(base, changes), &Tensors::default()))
    });
}

const KINDS: &[Row] = &[
    (
        r#"{"model_type": "mixtral"}"#,
        &[
            "`model_type` is `mixtral`",
            "llama, mistral, qwen2, qwen3, phi3, gemma2, gemma3_text",
        ],
    ),
    (r#"{"model_type": 3}"#, &["`model_type` is 3"]),
    (
        r#"{"architectures": ["LlamaForSequenceClassification"]}"#,
        &[
            "architectures",
            "LlamaForSequenceClassification",
            "LlamaForCausalLM",
        ],
    ),
    (
        r#"{"model_type": "<absent>", "architectures": ["MambaForCausalLM"]}"#,
        &["architectures", "MambaForCausalLM", "known"],
    ),
    (
        r#"{"model_type": "<absent>", "architectures": "<absent>"}"#,
        &["architectures", "absent"],
    ),
];

#[test]
fn unknown_kinds_of_model() {
    check_config(&configs::llama_gqa(), KINDS);
    let row: Row = (
        "{}",
        &[
            "`general.architecture` is `mamba2`",
            "llama, qwen2, qwen3, phi3",
        ],
    );
    check(&[row], |_| {
        message(gguf_spec("mamba2", &json!({}), &Tensors::default()))
    });
}

const SIZES: &[Row] = &[
    (r#"{"vocab_size": 0}"#, &["`vocab_size` is 0"]),
    (r#"{"vocab_size": "<absent>"}"#, &["`vocab_size` is absent"]),
    (
        r#"{"hidden_size": "<absent>"}"#,
        &["`hidden_size` is absent"],
    ),
    (r#"{"hidden_size": -64}"#, &["`hidden_size` is -64"]),
    (r#"{"hidden_size": 64.5}"#, &["`hidden_size` is 64.5"]),
    (r#"{"hidden_size": "64"}"#, &["`hidden_size` is `64`"]),
    (
        r#"{"hidden_size": 2097152}"#,
        &["`hidden_size` is 2097152", "1048576"],
    ),
    (r#"{"intermediate_size": 0}"#, &["`intermediate_size` is 0"]),
    (r#"{"num_hidden_layers": 0}"#, &["`num_hidden_layers` is 0"]),
    (
        r#"{"num_hidden_layers": 1025}"#,
        &["`num_hidden_layers` is 1025", "1024"],
    ),
    (
        r#"{"num_attention_heads": 0}"#,
        &["`num_attention_heads` is 0"],
    ),
    (
        r#"{"num_key_value_heads": 0}"#,
        &["`num_key_value_heads` is 0"],
    ),
    (
        r#"{"num_key_value_heads": 3}"#,
        &["`num_key_value_heads` is 3"],
    ),
    (
        r#"{"num_key_value_heads": 8}"#,
        &["`num_key_value_heads` is 8"],
    ),
    (r#"{"head_dim": 0}"#, &["`head_dim` is 0"]),
    (r#"{"head_dim": 1025}"#, &["`head_dim` is 1025", "1024"]),
    (r#"{"head_dim": 15}"#, &["15 rotary dimensions"]),
    (
        r#"{"head_dim": null, "hidden_size": 66}"#,
        &["num_attention_heads", "66"],
    ),
    (
        r#"{"max_position_embeddings": 33554432}"#,
        &["`max_position_embeddings`"],
    ),
    (r#"{"rms_norm_eps": 0.0}"#, &["`rms_norm_eps` is 0"]),
    (r#"{"rms_norm_eps": 1e300}"#, &["`rms_norm_eps`"]),
    (r#"{"eos_token_id": -1}"#, &["`eos_token_id` is -1"]),
    (r#"{"eos_token_id": [2, "x"]}"#, &["`eos_token_id`"]),
    (
        r#"{"tie_word_embeddings": "yes"}"#,
        &["`tie_word_embeddings` is `yes`"],
    ),
    (
        r#"{"hidden_act": "relu"}"#,
        &["`hidden_act` is `relu`", "silu"],
    ),
    (r#"{"hidden_act": "gelu"}"#, &["`hidden_act` is `gelu`"]),
];

#[test]
fn sizes() {
    check_config(&configs::llama_gqa(), SIZES);
}

const NOT_IN_LLAMA: &[Row] = &[
    (
        r#"{"quantization_config": {"quant_method": "gptq", "bits": 4}}"#,
        &["quantization_config", "gptq", "GGUF"],
    ),
    (r#"{"num_local_experts": 8}"#, &["`num_local_experts` is 8"]),
    (r#"{"num_experts": 64}"#, &["`num_experts` is 64"]),
    (r#"{"mlp_bias": true}"#, &["`mlp_bias` is true"]),
    (r#"{"logit_scale": 0.0625}"#, &["`logit_scale` is 0.0625"]),
    (r#"{"residual_multiplier": 0.22}"#, &["residual_multiplier"]),
    (r#"{"embedding_multiplier": 12}"#, &["embedding_multiplier"]),
    (r#"{"clip_qkv": 8.0}"#, &["`clip_qkv` is 8.0"]),
    (
        r#"{"attn_logit_softcapping": 50.0}"#,
        &["attn_logit_softcapping"],
    ),
    (
        r#"{"final_logit_softcapping": 30.0}"#,
        &["final_logit_softcapping"],
    ),
    (r#"{"no_rope_layers": [1, 1, 0]}"#, &["no_rope_layers"]),
    (r#"{"is_encoder_decoder": true}"#, &["is_encoder_decoder"]),
    (r#"{"vision_config": {}}"#, &["vision_config"]),
    (
        r#"{"layer_types": ["full_attention", "sliding_attention", "full_attention"]}"#,
        &["layer_types"],
    ),
    (
        r#"{"layer_types": ["full_attention", "linear_attention", "full_attention"]}"#,
        &["layer_types", "linear_attention"],
    ),
    (
        r#"{"layer_types": ["full_attention"]}"#,
        &["layer_types", "1 entries", "3"],
    ),
];

const BIASED: &[Row] = &[(r#"{"attention_bias": true}"#, &["`attention_bias` is true"])];

const NOT_IN_GEMMA3: &[Row] = &[
    (
        r#"{"use_bidirectional_attention": true}"#,
        &["`use_bidirectional_attention` is true"],
    ),
    (
        r#"{"hidden_activation": "gelu"}"#,
        &["`hidden_activation` is `gelu`"],
    ),
    (r#"{"sliding_window": 0}"#, &["`sliding_window` is 0"]),
    (
        r#"{"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}"#,
        &["rope_parameters.rope_theta"],
    ),
    (
        r#"{"rope_scaling": {"rope_type": "linear", "factor": 8.0}}"#,
        &["rope_scaling", "contradicts"],
    ),
];

#[test]
fn what_a_family_does_not_have() {
    check_config(&configs::llama_gqa(), NOT_IN_LLAMA);
    check_config(&configs::mistral_window(), BIASED);
    check_config(&configs::phi3_fused(), BIASED);
    check_config(&configs::gemma3_dual_rope(), NOT_IN_GEMMA3);
    let tensors = Tensors::default().with_shape("model.layers.0.self_attn.o_proj.bias", &[64]);
    check(BIASED, |changes| {
        message(config_spec(
            &changed(&configs::llama_gqa(), changes),
            &tensors,
        ))
    });
}

const ROPE_SETTINGS: &[Row] = &[
    (
        r#"{"rope_type": "mrope"}"#,
        &["rope_parameters.rope_type", "mrope"],
    ),
    (r#"{"type": "ntk"}"#, &["rope_parameters.type", "ntk"]),
    (
        r#"{"rope_type": "default", "mrope_section": [16, 24, 24]}"#,
        &["rope_parameters.mrope_section"],
    ),
    (
        r#"{"rope_type": "linear", "type": "yarn", "factor": 2.0}"#,
        &["rope_parameters.type", "linear"],
    ),
    (
        r#"{"factor": 2.0}"#,
        &["rope_parameters.factor", "rope_type"],
    ),
    (
        r#"{"rope_type": "linear"}"#,
        &["rope_parameters.factor", "absent"],
    ),
    (
        r#"{"rope_type": "linear", "factor": 0}"#,
        &["rope_parameters.factor"],
    ),
    (
        r#"{"rope_type": "llama3", "factor": 8.0}"#,
        &["low_freq_factor"],
    ),
    (
        r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}"#,
        &["high_freq_factor"],
    ),
    (
        r#"{"rope_type": "yarn", "factor": 8.0, "beta_fast": 1, "beta_slow": 2}"#,
        &["beta_fast"],
    ),
    (r#"{"rope_theta": 0.0}"#, &["rope_parameters.rope_theta"]),
    (
        r#"{"partial_rotary_factor": 2.0}"#,
        &["partial_rotary_factor"],
    ),
    (
        r#"{"partial_rotary_factor": 0.5}"#,
        &["partial_rotary_factor", "Phi-3"],
    ),
];

const OLDER_ROPE_SETTINGS: &[Row] = &[
    (
        r#"{"rope_scaling": "linear"}"#,
        &["`rope_scaling` is `linear`"],
    ),
    (
        r#"{"rope_parameters": null, "rope_theta": -1.0}"#,
        &["`rope_theta` is -1"],
    ),
];

const LONG_ROPE_SETTINGS: &[Row] = &[
    (
        r#"{"rope_type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1]}"#,
        &["long_factor", "absent"],
    ),
    (
        r#"{"rope_type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [1]}"#,
        &["1 rotary factors", "8"],
    ),
    (
        r#"{"rope_type": "longrope", "short_factor": [0, 1, 1, 1, 1, 1, 1, 1]}"#,
        &["short_factor", "greater than 0"],
    ),
];

#[test]
fn rope_settings() {
    let inside = |base: Value, rows| {
        check(rows, |settings| {
            let config = changed(&base, &json!({"rope_parameters": settings}));
            message(config_spec(&config, &Tensors::default()))
        });
    };
    inside(configs::llama_gqa(), ROPE_SETTINGS);
    inside(configs::phi3_longrope(), LONG_ROPE_SETTINGS);
    check_config(&configs::llama_gqa(), OLDER_ROPE_SETTINGS);
    let row: Row = (
        r#"{"original_max_position_embeddings": 1}"#,
        &["attention factor"],
    );
    check_config(&configs::phi3_longrope(), &[row]);
}

const LLAMA_KEYS: &[Row] = &[
    (r#"{"block_count": 0}"#, &["`llama.block_count` is 0"]),
    (
        r#"{"block_count": "<absent>"}"#,
        &["`llama.block_count` is absent"],
    ),
    (
        r#"{"context_length": "<absent>"}"#,
        &["llama.context_length"],
    ),
    (r#"{"vocab_size": "<absent>"}"#, &["llama.vocab_size"]),
    (r#"{"attention.head_count_kv": 3}"#, &["head_count_kv", "4"]),
    (
        r#"{"attention.head_count_kv": [2, 2, 1]}"#,
        &["head_count_kv"],
    ),
    (
        r#"{"attention.value_length": 8}"#,
        &["value_length` is 8", "16"],
    ),
    (
        r#"{"attention.head_count": 5}"#,
        &["attention.key_length", "64"],
    ),
    (r#"{"expert_count": 8}"#, &["`llama.expert_count` is 8"]),
    (r#"{"logit_scale": 0.5}"#, &["`llama.logit_scale` is 0.5"]),
    (r#"{"attention.clamp_kqv": 8.0}"#, &["attention.clamp_kqv"]),
    (r#"{"attention.scale": 0.015}"#, &["attention.scale"]),
    (r#"{"attention.causal": false}"#, &["attention.causal"]),
    (
        r#"{"rope.dimension_count": 8}"#,
        &["rope.dimension_count` is 8", "16"],
    ),
    (
        r#"{"rope.dimension_sections": [8, 4, 4, 0]}"#,
        &["dimension_sections"],
    ),
    (
        r#"{"rope.scaling.type": "ntk"}"#,
        &["rope.scaling.type", "ntk"],
    ),
    (r#"{"rope.scaling.type": "yarn"}"#, &["rope.scaling.factor"]),
    (
        r#"{"rope.scaling.type": "longrope"}"#,
        &["rope_factors_short.weight"],
    ),
    (r#"{"rope.scaling.attn_factor": 1.2}"#, &["attn_factor"]),
    (
        r#"{"rope.scaling.yarn_attn_factor": 1.2}"#,
        &["yarn_attn_factor"],
    ),
    (
        r#"{"rope.freq_base": "NaN"}"#,
        &["rope.freq_base` is `NaN`"],
    ),
    (
        r#"{"final_logit_softcapping": 30.0}"#,
        &["final_logit_softcapping"],
    ),
];

#[test]
fn gguf_metadata() {
    let base = json!({"block_count": 3, "context_length": 512, "embedding_length": 64,
        "feed_forward_length": 96, "attention.head_count": 4, "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": 320});
    assert!(gguf_spec("llama", &base, &Tensors::default()).is_ok());
    let check_keys = |architecture: &str, rows: &[Row]| {
        check(rows, |changes| {
            let keys = changed(&base, changes);
            message(gguf_spec(architecture, &keys, &Tensors::default()))
        });
    };
    check_keys("llama", LLAMA_KEYS);
    let row: Row = (r#"{"attention.sliding_window": 4096}"#, &["sliding_window"]);
    check_keys("qwen2", &[row]);
    check_keys(
        "qwen3",
        &[(r#"{"rope.freq_base_swa": 1e4}"#, &["freq_base_swa"])],
    );
    let row: Row = (
        r#"{"attention.sliding_window": 8, "attention.sliding_window_pattern": [true]}"#,
        &["sliding_window_pattern", "1 entries", "3"],
    );
    check_keys("gemma3", &[row]);
}
