//! The names of a model's tensors, in safetensors files as in GGUF.

use crate::model::spec::{AttentionInput, FeedForwardInput, LayerTensorNames, TensorNames};

/// The names that Llama's classes and their descendants give.
pub(super) fn safetensors() -> TensorNames {
    let of_layer = |name: &str| format!("model.layers.{{}}.{name}.weight");
    TensorNames {
        embedding: "model.embed_tokens.weight".into(),
        output_norm: "model.norm.weight".into(),
        output: Some("lm_head.weight".into()),
        tied: false,
        layer: LayerTensorNames {
            attention_norm: of_layer("input_layernorm"),
            attention_input: AttentionInput::Split {
                query: of_layer("self_attn.q_proj"),
                key: of_layer("self_attn.k_proj"),
                value: of_layer("self_attn.v_proj"),
                biases: None,
            },
            query_norm: None,
            key_norm: None,
            attention_output: of_layer("self_attn.o_proj"),
            post_attention_norm: None,
            feed_forward_norm: of_layer("post_attention_layernorm"),
            feed_forward_input: FeedForwardInput::Split {
                gate: of_layer("mlp.gate_proj"),
                up: of_layer("mlp.up_proj"),
            },
            feed_forward_output: of_layer("mlp.down_proj"),
            post_feed_forward_norm: None,
        },
    }
}

/// The names that llama.cpp's converter gives.
pub(super) fn gguf() -> TensorNames {
    let of_layer = |name: &str| format!("blk.{{}}.{name}.weight");
    TensorNames {
        embedding: GGUF_EMBEDDING.into(),
        output_norm: "output_norm.weight".into(),
        output: Some("output.weight".into()),
        tied: true,
        layer: LayerTensorNames {
            attention_norm: of_layer("attn_norm"),
            attention_input: AttentionInput::Split {
                query: of_layer("attn_q"),
                key: of_layer("attn_k"),
                value: of_layer("attn_v"),
                biases: None,
            },
            query_norm: None,
            key_norm: None,
            attention_output: of_layer("attn_output"),
            post_attention_norm: None,
            feed_forward_norm: of_layer("ffn_norm"),
            feed_forward_input: FeedForwardInput::Split {
                gate: of_layer("ffn_gate"),
                up: of_layer("ffn_up"),
            },
            feed_forward_output: of_layer("ffn_down"),
            post_feed_forward_norm: None,
        },
    }
}

/// The embedding in GGUF files.
pub(super) const GGUF_EMBEDDING: &str = "token_embd.weight";

/// The query, key and value projections get biases, named as their weights.
pub(super) fn add_attention_biases(names: &mut TensorNames) {
    if let AttentionInput::Split {
        query,
        key,
        value,
        biases,
    } = &mut names.layer.attention_input
    {
        *biases = Some([query, key, value].map(|weight| bias_of(weight)));
    }
}

/// The name of the bias beside a weight.
pub(super) fn bias_of(weight: &str) -> String {
    format!("{}.bias", weight.trim_end_matches(".weight"))
}

/// The tensor's name in the first layer.
pub(super) fn in_first_layer(name: &str) -> String {
    name.replace("{}", "0")
}

/// What stands before a tensor's own name in a layer.
pub(super) fn layer_prefix(names: &TensorNames) -> &'static str {
    if names.embedding == GGUF_EMBEDDING {
        "blk.{}."
    } else {
        "model.layers.{}."
    }
}
