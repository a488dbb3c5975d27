//! Specs from config.json: the reference models, both generations of keys, defaults.

use crate::configs;
use crate::files::{Tensors, changed, config_spec};
use ruvllm_core::model::families::{ConfigSource, spec_from_config};
use ruvllm_core::model::spec::{
    AttentionInput, FeedForwardInput, LayerSpec, ModelSpec, RopeScaling, RopeSpec, RotaryLayout,
    SpecialTokens, YarnScaling,
};
use ruvllm_kernels::Activation;
use serde_json::{Value, json};

fn spec(config: &Value) -> ModelSpec {
    config_spec(config, &Tensors::default()).expect("a spec")
}

fn layers(windows: &[Option<usize>]) -> Vec<LayerSpec> {
    let layer = |window: &Option<usize>| LayerSpec {
        window: *window,
        rope: 0,
    };
    windows.iter().map(layer).collect()
}

fn plain_rope(base: f32, dimensions: usize) -> RopeSpec {
    RopeSpec {
        base,
        dimensions,
        scaling: RopeScaling::None,
    }
}

#[test]
fn llama() {
    let found = spec(&configs::llama_gqa());
    let names = ruvllm_core::model::spec::TensorNames {
        embedding: "model.embed_tokens.weight".into(),
        output_norm: "model.norm.weight".into(),
        output: Some("lm_head.weight".into()),
        tied: false,
        layer: ruvllm_core::model::spec::LayerTensorNames {
            attention_norm: "model.layers.{}.input_layernorm.weight".into(),
            attention_input: AttentionInput::Split {
                query: "model.layers.{}.self_attn.q_proj.weight".into(),
                key: "model.layers.{}.self_attn.k_proj.weight".into(),
                value: "model.layers.{}.self_attn.v_proj.weight".into(),
                biases: None,
            },
            query_norm: None,
            key_norm: None,
            attention_output: "model.layers.{}.self_attn.o_proj.weight".into(),
            post_attention_norm: None,
            feed_forward_norm: "model.layers.{}.post_attention_layernorm.weight".into(),
            feed_forward_input: FeedForwardInput::Split {
                gate: "model.layers.{}.mlp.gate_proj.weight".into(),
                up: "model.layers.{}.mlp.up_proj.weight".into(),
            },
            feed_forward_output: "model.layers.{}.mlp.down_proj.weight".into(),
            post_feed_forward_norm: None,
        },
    };
    let expected = ModelSpec {
        architecture: "LlamaForCausalLM".into(),
        name: None,
        vocab_size: 320,
        hidden_size: 64,
        feed_forward_size: 96,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 16,
        max_context: 512,
        norm_epsilon: 1e-5,
        norm_weight_offset: 0.0,
        activation: Activation::Silu,
        embedding_scale: 1.0,
        attention_scale: 0.25,
        attention_soft_cap: None,
        final_soft_cap: None,
        ropes: vec![plain_rope(10_000.0, 16)],
        layers: layers(&[None; 3]),
        rotary_layout: RotaryLayout::Halves,
        tensors: names,
        consumed_tensors: Vec::new(),
        special_tokens: SpecialTokens {
            begin: Some(1),
            end: vec![2],
        },
    };
    assert_eq!(found, expected);
}

#[test]
fn llama3_rope_and_tied_head() {
    let stored = Tensors::default()
        .with_shape("lm_head.weight", &[320, 64])
        .with_shape("model.layers.0.self_attn.rotary_emb.inv_freq", &[8]);
    let found = config_spec(&configs::llama3_rope_tied(), &stored).expect("a spec");
    let expected = RopeSpec {
        base: 500_000.0,
        dimensions: 16,
        scaling: RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 64,
        },
    };
    assert_eq!(found.ropes, [expected]);
    assert!(found.tensors.tied);
    assert_eq!(
        found.consumed_tensors,
        ["model.layers.0.self_attn.rotary_emb.inv_freq"]
    );
}

#[test]
fn mistral_has_a_window_on_every_layer() {
    let found = spec(&configs::mistral_window());
    assert_eq!(found.layers, layers(&[Some(8); 3]));
    let open = changed(&configs::mistral_window(), &json!({"sliding_window": null}));
    assert_eq!(spec(&open).layers, layers(&[None; 3]));
    let silent = json!({"sliding_window": "<absent>", "num_key_value_heads": "<absent>",
        "num_attention_heads": 16, "hidden_size": 256});
    let silent = spec(&changed(&configs::mistral_window(), &silent));
    assert_eq!(silent.layers, layers(&[Some(4096); 3]));
    assert_eq!(silent.num_kv_heads, 8);
}

#[test]
fn qwen2_has_biases_and_windows_only_when_asked() {
    let found = spec(&configs::qwen2_bias_tied());
    let AttentionInput::Split { biases, .. } = &found.tensors.layer.attention_input else {
        panic!("three matrices");
    };
    let expected =
        ["q", "k", "v"].map(|part| format!("model.layers.{{}}.self_attn.{part}_proj.bias"));
    assert_eq!(biases, &Some(expected));
    assert_eq!(found.head_dim, 16);
    assert_eq!(found.ropes, [plain_rope(1e6, 16)]);
    assert_eq!(found.layers, layers(&[None; 3]));

    let sleeping = json!({"sliding_window": 8, "max_window_layers": 1, "layer_types": "<absent>"});
    let sleeping = changed(&configs::qwen2_bias_tied(), &sleeping);
    assert_eq!(spec(&sleeping).layers, layers(&[None; 3]));
    let awake = changed(&sleeping, &json!({"use_sliding_window": true}));
    assert_eq!(spec(&awake).layers, layers(&[None, Some(8), Some(8)]));
    let listed = json!({"layer_types": ["sliding_attention", "full_attention", "full_attention"]});
    let listed = spec(&changed(&awake, &listed));
    assert_eq!(listed.layers, layers(&[Some(8), None, None]));
}

#[test]
fn qwen3_norms_heads() {
    let found = spec(&configs::qwen3_qknorm());
    let layer = &found.tensors.layer;
    let norm = |part| Some(format!("model.layers.{{}}.self_attn.{part}_norm.weight"));
    assert_eq!(layer.query_norm, norm("q"));
    assert_eq!(layer.key_norm, norm("k"));
    assert_eq!(found.head_dim, 32);
    let silent = changed(&configs::qwen3_qknorm(), &json!({"head_dim": "<absent>"}));
    assert_eq!(spec(&silent).head_dim, 128);
}

#[test]
fn phi3_is_fused() {
    let found = spec(&configs::phi3_fused());
    let fused = AttentionInput::Fused("model.layers.{}.self_attn.qkv_proj.weight".into());
    assert_eq!(found.tensors.layer.attention_input, fused);
    let fused = FeedForwardInput::Fused("model.layers.{}.mlp.gate_up_proj.weight".into());
    assert_eq!(found.tensors.layer.feed_forward_input, fused);
    assert_eq!(found.ropes, [plain_rope(10_000.0, 16)]);
    assert_eq!(found.layers, layers(&[None; 3]));
    let partial = json!({"partial_rotary_factor": 0.75, "rope_parameters": {"rope_theta": 5000.0}});
    let partial = spec(&changed(&configs::phi3_fused(), &partial));
    assert_eq!(partial.ropes, [plain_rope(5000.0, 12)]);
}

#[test]
fn phi3_long_rope() {
    let found = spec(&configs::phi3_longrope());
    let expected = RopeScaling::LongRope {
        short: vec![1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35],
        long: vec![1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0],
        original_context: 16,
        magnitude: std::f32::consts::SQRT_2,
    };
    assert_eq!(found.ropes[0].scaling, expected);
}

#[test]
fn gemma2() {
    let found = spec(&configs::gemma2_softcap());
    assert_eq!(found.norm_weight_offset, 1.0);
    assert_eq!(found.activation, Activation::GeluTanh);
    assert_eq!(found.embedding_scale, 8.0);
    assert_eq!(found.attention_scale, 24.0_f64.powf(-0.5) as f32);
    assert_eq!(found.attention_soft_cap, Some(50.0));
    assert_eq!(found.final_soft_cap, Some(30.0));
    assert_eq!(found.layers, layers(&[Some(8), None, Some(8)]));
    assert!(found.tensors.tied);
    let names = &found.tensors.layer;
    let norm = |name| format!("model.layers.{{}}.{name}_layernorm.weight");
    assert_eq!(names.attention_norm, norm("input"));
    assert_eq!(names.post_attention_norm, Some(norm("post_attention")));
    assert_eq!(names.feed_forward_norm, norm("pre_feedforward"));
    assert_eq!(names.post_feed_forward_norm, Some(norm("post_feedforward")));

    let silent = json!({"layer_types": "<absent>", "attn_logit_softcapping": "<absent>",
        "final_logit_softcapping": null, "query_pre_attn_scalar": "<absent>", "head_dim": "<absent>",
        "tie_word_embeddings": "<absent>"});
    let silent = spec(&changed(&configs::gemma2_softcap(), &silent));
    assert_eq!(silent.layers, found.layers);
    assert_eq!(silent.attention_soft_cap, Some(50.0));
    assert_eq!(silent.final_soft_cap, None);
    assert_eq!(silent.attention_scale, 1.0 / 16.0);
    assert_eq!(silent.head_dim, 256);
    assert!(silent.tensors.tied);
}

#[test]
fn gemma3_has_a_rope_for_each_kind_of_layer() {
    let found = spec(&configs::gemma3_dual_rope());
    assert_eq!(found.ropes, [plain_rope(1e6, 32), plain_rope(10_000.0, 32)]);
    for (index, layer) in found.layers.iter().enumerate() {
        let expected = match index {
            5 => LayerSpec {
                window: None,
                rope: 0,
            },
            _ => LayerSpec {
                window: Some(8),
                rope: 1,
            },
        };
        assert_eq!(*layer, expected, "layer {index}");
    }
    assert!(found.tensors.layer.query_norm.is_some());
    assert_eq!(found.attention_soft_cap, None);
    assert_eq!(found.final_soft_cap, None);
    let capped = json!({"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0});
    let capped = spec(&changed(&configs::gemma3_dual_rope(), &capped));
    assert_eq!(capped.attention_soft_cap, None);
    assert_eq!(capped.final_soft_cap, Some(30.0));
}

/// What an older transformers wrote for the same models.
#[test]
fn both_generations_of_keys_give_the_same_spec() {
    let flat = |theta: f64| json!({"rope_parameters": "<absent>", "rope_theta": theta});
    let with = |mut base: Value, more: Value| {
        for (key, value) in more.as_object().expect("an object") {
            base[key] = value.clone();
        }
        base
    };
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64});
    let longrope = configs::phi3_longrope()["rope_parameters"].clone();
    let longrope = json!({"type": "su", "short_factor": longrope["short_factor"],
        "long_factor": longrope["long_factor"]});
    let pattern = json!({"layer_types": "<absent>", "sliding_window_pattern": 6,
        "_sliding_window_pattern": "<absent>", "rope_local_base_freq": 10000.0, "rope_scaling": null});
    let cases = [
        (configs::llama_gqa(), flat(10000.0)),
        (
            configs::llama_gqa(),
            json!({"rope_parameters": "<absent>", "head_dim": "<absent>"}),
        ),
        (
            configs::llama3_rope_tied(),
            with(flat(500_000.0), json!({"rope_scaling": llama3})),
        ),
        (configs::mistral_window(), flat(10000.0)),
        (
            configs::qwen2_bias_tied(),
            with(flat(1e6), json!({"layer_types": "<absent>"})),
        ),
        (
            configs::qwen3_qknorm(),
            with(flat(1e6), json!({"rope_scaling": null})),
        ),
        (configs::phi3_fused(), flat(10000.0)),
        (
            configs::phi3_longrope(),
            with(flat(10000.0), json!({"rope_scaling": longrope})),
        ),
        (
            configs::gemma2_softcap(),
            with(flat(10000.0), json!({"layer_types": "<absent>"})),
        ),
        (configs::gemma3_dual_rope(), with(flat(1e6), pattern)),
    ];
    for (newer, changes) in cases {
        let older = changed(&newer, &changes);
        assert_eq!(spec(&older), spec(&newer), "{older}");
    }
}

#[test]
fn gemma3_scales_only_global_layers() {
    let older = json!({"rope_parameters": "<absent>",
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}});
    let newer = json!({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0,
        "rope_theta": 1_000_000.0}, "sliding_attention": null}});
    for changes in [older, newer] {
        let found = spec(&changed(&configs::gemma3_dual_rope(), &changes));
        assert_eq!(found.ropes[0].scaling, RopeScaling::Linear { factor: 8.0 });
        assert_eq!(found.ropes[0].base, 1e6);
        assert_eq!(found.ropes[1], plain_rope(10_000.0, 32));
    }
}

#[test]
fn yarn_defaults() {
    let rope = |settings: Value| {
        let config = changed(
            &configs::qwen3_qknorm(),
            &json!({"rope_scaling": settings,
            "rope_parameters": "<absent>", "rope_theta": 1e6}),
        );
        let found = spec(&config).ropes.remove(0);
        assert_eq!(found.base, 1e6);
        match found.scaling {
            RopeScaling::Yarn(yarn) => yarn,
            other => panic!("{other:?}"),
        }
    };
    let usual = YarnScaling {
        factor: 4.0,
        original_context: 128,
        beta_fast: 32.0,
        beta_slow: 1.0,
        magnitude: 1.138_629_4,
        truncate: true,
    };
    let settings = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128});
    assert_eq!(rope(settings), usual);
    let settings = json!({"rope_type": "yarn", "factor": 4.0});
    assert_eq!(rope(settings).original_context, 512);
    let settings = json!({"rope_type": "yarn", "original_max_position_embeddings": 128});
    assert_eq!(rope(settings), usual);
    let all = json!({"rope_type": "yarn", "factor": 40, "mscale": 0.707, "mscale_all_dim": 1.0,
        "beta_fast": 24, "beta_slow": 2, "truncate": false, "original_max_position_embeddings": 64});
    let expected = YarnScaling {
        factor: 40.0,
        original_context: 64,
        beta_fast: 24.0,
        beta_slow: 2.0,
        magnitude: 0.921_042_4,
        truncate: false,
    };
    assert_eq!(rope(all), expected);
    let given = json!({"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5});
    assert_eq!(rope(given).magnitude, 1.5);
}

#[test]
fn dynamic_scaling_starts_at_the_whole_context() {
    let dynamic =
        json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_parameters": {}});
    let found = spec(&changed(&configs::llama_gqa(), &dynamic));
    let expected = RopeScaling::DynamicNtk {
        factor: 2.0,
        original_context: 512,
    };
    assert_eq!(found.ropes[0].scaling, expected);
}

#[test]
fn the_context_is_what_the_scaling_reaches() {
    let context = |settings: Value| {
        let changes = json!({"rope_scaling": settings, "rope_parameters": {}});
        spec(&changed(&configs::llama_gqa(), &changes)).max_context
    };
    let rows = [
        (json!({"type": "dynamic", "factor": 2.0}), 1024),
        (json!({"type": "yarn", "factor": 4.0}), 2048),
        (
            json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}),
            512,
        ),
        (json!({"type": "linear", "factor": 4.0}), 512),
        (json!({"type": "dynamic", "factor": 1e6}), 1 << 24),
    ];
    for (settings, expected) in rows {
        assert_eq!(context(settings.clone()), expected, "{settings}");
    }
}

#[test]
fn attention_bias_adds_three_biases() {
    let biased = changed(&configs::llama_gqa(), &json!({"attention_bias": true}));
    let names = spec(&biased).tensors.layer.attention_input;
    assert!(matches!(
        names,
        AttentionInput::Split {
            biases: Some(_),
            ..
        }
    ));
}

#[test]
fn the_generation_config_names_the_end_first() {
    let config = crate::files::object(&configs::llama_gqa());
    let tokens = |generation: Value| {
        let generation = crate::files::object(&generation);
        let source = ConfigSource {
            config: &config,
            generation: Some(&generation),
            tensors: &Tensors::default(),
        };
        spec_from_config(&source).expect("a spec").special_tokens
    };
    let both = tokens(json!({"bos_token_id": 5, "eos_token_id": [7, 9]}));
    assert_eq!((both.begin, both.end), (Some(5), vec![7, 9]));
    let neither = tokens(json!({"temperature": 0.6}));
    assert_eq!((neither.begin, neither.end), (Some(1), vec![2]));
}

#[test]
fn absent_tokens_are_the_class_defaults_and_null_is_none() {
    let silent = json!({"bos_token_id": "<absent>", "eos_token_id": "<absent>"});
    let found = |config: Value| spec(&changed(&config, &silent)).special_tokens;
    let tokens = |begin, end: &[u32]| SpecialTokens {
        begin,
        end: end.to_vec(),
    };
    assert_eq!(found(configs::llama_gqa()), tokens(Some(1), &[2]));
    assert_eq!(found(configs::phi3_fused()), tokens(Some(1), &[32_000]));
    assert_eq!(found(configs::gemma2_softcap()), tokens(Some(2), &[1]));
    assert_eq!(found(configs::qwen2_bias_tied()), tokens(None, &[]));
    let null = json!({"bos_token_id": null, "eos_token_id": null});
    let null = spec(&changed(&configs::llama_gqa(), &null));
    assert_eq!(null.special_tokens, tokens(None, &[]));
}

#[test]
fn model_type_may_be_missing() {
    let classes_only = changed(
        &configs::gemma2_softcap(),
        &json!({"model_type": "<absent>"}),
    );
    assert_eq!(spec(&classes_only), spec(&configs::gemma2_softcap()));
}
