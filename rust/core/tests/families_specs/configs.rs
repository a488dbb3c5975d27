//! The configurations of the reference models, as transformers 5 writes them.

use serde_json::{Value, json};

pub(crate) fn llama_gqa() -> Value {
    json!({
        "architectures": [
            "LlamaForCausalLM"
        ],
        "attention_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "rope_theta": 10000.0,
            "rope_type": "default"
        },
        "tie_word_embeddings": false,
        "vocab_size": 320
    })
}

pub(crate) fn llama3_rope_tied() -> Value {
    json!({
        "architectures": [
            "LlamaForCausalLM"
        ],
        "attention_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 8192,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 64,
            "rope_theta": 500_000.0,
            "rope_type": "llama3"
        },
        "tie_word_embeddings": true,
        "vocab_size": 320
    })
}

pub(crate) fn mistral_window() -> Value {
    json!({
        "architectures": [
            "MistralForCausalLM"
        ],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "model_type": "mistral",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "rope_theta": 10000.0,
            "rope_type": "default"
        },
        "sliding_window": 8,
        "tie_word_embeddings": false,
        "vocab_size": 320
    })
}

pub(crate) fn qwen2_bias_tied() -> Value {
    json!({
        "architectures": [
            "Qwen2ForCausalLM"
        ],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "layer_types": [
            "full_attention",
            "full_attention",
            "full_attention"
        ],
        "max_position_embeddings": 512,
        "max_window_layers": 28,
        "model_type": "qwen2",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "rope_theta": 1_000_000.0,
            "rope_type": "default"
        },
        "sliding_window": null,
        "tie_word_embeddings": true,
        "use_sliding_window": false,
        "vocab_size": 320
    })
}

pub(crate) fn qwen3_qknorm() -> Value {
    json!({
        "architectures": [
            "Qwen3ForCausalLM"
        ],
        "attention_bias": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "layer_types": [
            "full_attention",
            "full_attention",
            "full_attention"
        ],
        "max_position_embeddings": 512,
        "max_window_layers": 28,
        "model_type": "qwen3",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "rope_theta": 1_000_000.0,
            "rope_type": "default"
        },
        "sliding_window": null,
        "tie_word_embeddings": true,
        "use_sliding_window": false,
        "vocab_size": 320
    })
}

pub(crate) fn phi3_fused() -> Value {
    json!({
        "architectures": [
            "Phi3ForCausalLM"
        ],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 512,
        "model_type": "phi3",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "partial_rotary_factor": 1.0,
            "rope_theta": 10000.0,
            "rope_type": "default"
        },
        "sliding_window": null,
        "tie_word_embeddings": false,
        "vocab_size": 320
    })
}

pub(crate) fn phi3_longrope() -> Value {
    json!({
        "architectures": [
            "Phi3ForCausalLM"
        ],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 256,
        "model_type": "phi3",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "original_max_position_embeddings": 16,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "long_factor": [
                1.5,
                2.0,
                2.5,
                3.0,
                3.5,
                4.0,
                4.5,
                5.0
            ],
            "original_max_position_embeddings": 16,
            "partial_rotary_factor": 1.0,
            "rope_theta": 10000.0,
            "rope_type": "longrope",
            "short_factor": [
                1.0,
                1.05,
                1.1,
                1.15,
                1.2,
                1.25,
                1.3,
                1.35
            ],
            "type": "longrope"
        },
        "sliding_window": null,
        "tie_word_embeddings": false,
        "vocab_size": 320
    })
}

pub(crate) fn gemma2_softcap() -> Value {
    json!({
        "architectures": [
            "Gemma2ForCausalLM"
        ],
        "attention_bias": false,
        "attn_logit_softcapping": 50.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "final_logit_softcapping": 30.0,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 64,
        "intermediate_size": 96,
        "layer_types": [
            "sliding_attention",
            "full_attention",
            "sliding_attention"
        ],
        "max_position_embeddings": 512,
        "model_type": "gemma2",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 24,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "rope_theta": 10000.0,
            "rope_type": "default"
        },
        "sliding_window": 8,
        "tie_word_embeddings": true,
        "use_bidirectional_attention": null,
        "vocab_size": 320
    })
}

pub(crate) fn gemma3_dual_rope() -> Value {
    json!({
        "_sliding_window_pattern": 6,
        "architectures": [
            "Gemma3ForCausalLM"
        ],
        "attention_bias": false,
        "attn_logit_softcapping": null,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "final_logit_softcapping": null,
        "head_dim": 32,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 64,
        "intermediate_size": 96,
        "layer_types": [
            "sliding_attention",
            "sliding_attention",
            "sliding_attention",
            "sliding_attention",
            "sliding_attention",
            "full_attention",
            "sliding_attention"
        ],
        "max_position_embeddings": 512,
        "model_type": "gemma3_text",
        "num_attention_heads": 4,
        "num_hidden_layers": 7,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 32,
        "rms_norm_eps": 1e-05,
        "rope_parameters": {
            "full_attention": {
                "rope_theta": 1_000_000.0,
                "rope_type": "default"
            },
            "sliding_attention": {
                "rope_theta": 10000.0,
                "rope_type": "default"
            }
        },
        "sliding_window": 8,
        "tie_word_embeddings": true,
        "use_bidirectional_attention": false,
        "vocab_size": 320
    })
}
