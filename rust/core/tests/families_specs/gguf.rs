//! Specs from GGUF metadata, as llama.cpp's converter writes them.

use crate::configs;
use crate::files::{Tensors, changed, config_spec, gguf_spec};
use ruvllm_core::model::spec::{
    AttentionInput, FeedForwardInput, LayerSpec, ModelSpec, RopeScaling, RotaryLayout,
};
use ruvllm_kernels::Activation;
use serde_json::{Value, json};

/// What all of the reference models share, and an embedding for the size of the vocabulary.
fn keys(more: &Value) -> Value {
    let shared = json!({"block_count": 3, "context_length": 512, "embedding_length": 64,
        "feed_forward_length": 96, "attention.head_count": 4, "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5});
    changed(&shared, more)
}

fn tensors() -> Tensors {
    Tensors::default().with_shape("token_embd.weight", &[320, 64])
}

fn spec(architecture: &str, more: &Value) -> ModelSpec {
    gguf_spec(architecture, &keys(more), &tensors()).expect("a spec")
}

/// Everything but names, layout and what only one kind of file holds must agree.
fn assert_equivalent(gguf: &ModelSpec, config: &Value) {
    let mut expected = config_spec(config, &Tensors::default()).expect("a spec");
    expected.architecture.clone_from(&gguf.architecture);
    expected.tensors = gguf.tensors.clone();
    expected.rotary_layout = gguf.rotary_layout;
    expected.norm_weight_offset = 0.0;
    expected.special_tokens = gguf.special_tokens.clone();
    assert_eq!(*gguf, expected);
}

#[test]
fn llama() {
    let llama = json!({"rope.freq_base": 10000.0, "attention.key_length": 16,
        "attention.value_length": 16, "vocab_size": 320, "rope.dimension_count": 16});
    let found = spec("llama", &llama);
    assert_equivalent(&found, &configs::llama_gqa());
    assert_eq!(found.architecture, "llama");
    assert_eq!(found.rotary_layout, RotaryLayout::AdjacentPairs);
    assert_eq!(found.tensors.output.as_deref(), Some("output.weight"));
    assert!(found.tensors.tied);
    let layer = &found.tensors.layer;
    assert_eq!(layer.feed_forward_norm, "blk.{}.ffn_norm.weight");
    assert_eq!(layer.attention_output, "blk.{}.attn_output.weight");
    let windowed = spec(
        "llama",
        &changed(&llama, &json!({"attention.sliding_window": 8})),
    );
    assert_equivalent(&windowed, &configs::mistral_window());
}

#[test]
fn llama3_reads_its_divisors() {
    let divisors = [1.0, 1.5, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0];
    let stored = tensors().with_values("rope_freqs.weight", &divisors);
    let found = gguf_spec(
        "llama",
        &keys(&json!({"rope.freq_base": 500_000.0})),
        &stored,
    );
    let found = found.expect("a spec");
    assert_eq!(
        found.ropes[0].scaling,
        RopeScaling::Divisors(divisors.to_vec())
    );
    assert_eq!(found.ropes[0].base, 500_000.0);
    assert_eq!(found.consumed_tensors, ["rope_freqs.weight"]);
}

#[test]
fn biases_are_found_in_the_file() {
    let stored = tensors().with_shape("blk.0.attn_q.bias", &[64]);
    let found = gguf_spec("llama", &keys(&json!({})), &stored).expect("a spec");
    let biases = ["q", "k", "v"].map(|part| format!("blk.{{}}.attn_{part}.bias"));
    let has_biases = |spec: &ModelSpec| match &spec.tensors.layer.attention_input {
        AttentionInput::Split { biases: found, .. } => *found == Some(biases.clone()),
        AttentionInput::Fused(_) => false,
    };
    assert!(has_biases(&found));
    assert!(has_biases(&spec("qwen2", &json!({}))));
    assert!(!has_biases(&spec("llama", &json!({}))));
}

#[test]
fn qwen() {
    let qwen2 = spec("qwen2", &json!({"rope.freq_base": 1e6}));
    assert_equivalent(&qwen2, &configs::qwen2_bias_tied());
    assert_eq!(qwen2.rotary_layout, RotaryLayout::Halves);
    let qwen3 =
        json!({"rope.freq_base": 1e6, "attention.key_length": 32, "attention.value_length": 32});
    let qwen3 = spec("qwen3", &qwen3);
    assert_equivalent(&qwen3, &configs::qwen3_qknorm());
    let norm = |part| Some(format!("blk.{{}}.attn_{part}_norm.weight"));
    assert_eq!(qwen3.tensors.layer.query_norm, norm("q"));
    assert_eq!(qwen3.tensors.layer.key_norm, norm("k"));
}

#[test]
fn phi3() {
    let short = [1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35];
    let long = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0];
    let stored = tensors()
        .with_values("rope_factors_short.weight", &short)
        .with_values("rope_factors_long.weight", &long);
    let phi3 = json!({"context_length": 256, "rope.dimension_count": 16, "rope.freq_base": 10000.0,
        "rope.scaling.original_context_length": 16, "rope.scaling.attn_factor": std::f32::consts::SQRT_2,
        "attention.sliding_window": 0});
    let mut found = gguf_spec("phi3", &keys(&phi3), &stored).expect("a spec");
    let consumed = std::mem::take(&mut found.consumed_tensors);
    assert_eq!(
        consumed,
        ["rope_factors_long.weight", "rope_factors_short.weight"]
    );
    assert_equivalent(&found, &configs::phi3_longrope());
    let layer = &found.tensors.layer;
    let fused = AttentionInput::Fused("blk.{}.attn_qkv.weight".into());
    assert_eq!(layer.attention_input, fused);
    let fused = FeedForwardInput::Fused("blk.{}.ffn_up.weight".into());
    assert_eq!(layer.feed_forward_input, fused);
    let windowed = spec("phi3", &json!({"attention.sliding_window": 2047}));
    assert!(
        windowed
            .layers
            .iter()
            .all(|layer| layer.window == Some(2047))
    );
}

#[test]
fn gemma2() {
    let gemma2 = json!({"attention.key_length": 16, "attention.value_length": 16,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "attention.sliding_window": 8});
    let found = spec("gemma2", &gemma2);
    let config = changed(
        &configs::gemma2_softcap(),
        &json!({"query_pre_attn_scalar": 16}),
    );
    assert_equivalent(&found, &config);
    let layer = &found.tensors.layer;
    assert_eq!(
        layer.post_attention_norm.as_deref(),
        Some("blk.{}.post_attention_norm.weight")
    );
    assert_eq!(layer.feed_forward_norm, "blk.{}.ffn_norm.weight");
    assert_eq!(
        layer.post_feed_forward_norm.as_deref(),
        Some("blk.{}.post_ffw_norm.weight")
    );
    let largest = json!({"block_count": 46, "attention.key_length": 32, "embedding_length": 64});
    assert_eq!(spec("gemma2", &largest).attention_scale, 0.25);
}

#[test]
fn gemma3() {
    let gemma3 = json!({"block_count": 7, "attention.key_length": 32, "attention.value_length": 32,
        "rope.freq_base": 1e6, "attention.sliding_window": 8});
    let found = spec("gemma3", &gemma3);
    assert_equivalent(&found, &configs::gemma3_dual_rope());
    assert_eq!(found.activation, Activation::GeluTanh);

    let scaled = json!({"rope.scaling.type": "linear", "rope.scaling.factor": 8.0,
        "rope.freq_base_swa": 5000.0, "final_logit_softcapping": 30.0});
    let scaled = spec("gemma3", &changed(&gemma3, &scaled));
    assert_eq!(scaled.ropes[0].scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(scaled.ropes[1].scaling, RopeScaling::None);
    assert_eq!(scaled.ropes[1].base, 5000.0);
    assert_eq!(scaled.final_soft_cap, Some(30.0));

    let listed =
        json!({"attention.sliding_window_pattern": [false, true, true, true, true, true, true]});
    let listed = spec("gemma3", &changed(&gemma3, &listed));
    let global = LayerSpec {
        window: None,
        rope: 0,
    };
    assert_eq!(listed.layers[0], global);
    assert_eq!(listed.layers[5].window, Some(8));

    let open = spec(
        "gemma3",
        &changed(&gemma3, &json!({"attention.sliding_window": "<absent>"})),
    );
    assert_eq!(open.layers, [global; 7]);
    assert_eq!(open.ropes.len(), 1);
    let largest = json!({"block_count": 62, "attention.key_length": 32});
    assert_eq!(
        spec("gemma3", &changed(&gemma3, &largest)).attention_scale,
        0.25
    );
}

#[test]
fn yarn_and_linear() {
    let yarn = json!({"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 128});
    let found = spec("qwen2", &yarn).ropes.remove(0).scaling;
    let RopeScaling::Yarn(found) = found else {
        panic!("{found:?}");
    };
    assert_eq!(found.magnitude, 1.138_629_4);
    assert_eq!((found.beta_fast, found.beta_slow), (32.0, 1.0));
    assert_eq!(found.original_context, 128);
    for key in ["rope.scaling.factor", "rope.scale_linear"] {
        let linear = spec("llama", &json!({key: 2.0}));
        assert_eq!(linear.ropes[0].scaling, RopeScaling::Linear { factor: 2.0 });
    }
    let none = spec(
        "llama",
        &json!({"rope.scaling.type": "none", "rope.scaling.factor": 2.0}),
    );
    assert_eq!(none.ropes[0].scaling, RopeScaling::None);
}

/// The embedding's rows count, not a stale key.
#[test]
fn the_vocabulary_is_as_large_as_the_embedding() {
    assert_eq!(
        spec("llama", &json!({"vocab_size": 32_000})).vocab_size,
        320
    );
    assert_eq!(spec("llama", &json!({})).vocab_size, 320);
}
