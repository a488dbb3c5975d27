//! What a GGUF file says of a model that came as a folder: its sizes, norms, caps and rotary embedding, by llama.cpp's
//! names for them. The tokenizer's part comes from whoever has read it.

use ruvllm_formats::gguf::Entry;
use ruvllm_formats::{Metadata, Value};

use crate::model::spec::{ModelSpec, RopeScaling};

/// A value that a key may have here.
#[derive(Debug, Clone)]
enum Word {
    Count(u32),
    Number(f32),
    Text(String),
}

/// Keys and values, in their order.
#[derive(Debug)]
pub(super) struct Said(Vec<(String, Word)>);

impl Said {
    /// Of a model, by the name of its architecture in GGUF files.
    pub(super) fn of(spec: &ModelSpec, architecture: &str) -> Self {
        let mut said = Self(Vec::new());
        said.text("general.architecture", architecture);
        said.text("general.type", "model");
        if let Some(name) = &spec.name {
            said.text("general.name", name);
        }
        let counts = [
            ("vocab_size", spec.vocab_size),
            ("block_count", spec.layers.len()),
            ("context_length", spec.max_context),
            ("embedding_length", spec.hidden_size),
            ("feed_forward_length", spec.feed_forward_size),
            ("attention.head_count", spec.num_heads),
            ("attention.head_count_kv", spec.num_kv_heads),
            ("attention.key_length", spec.head_dim),
            ("attention.value_length", spec.head_dim),
            ("rope.dimension_count", spec.ropes[0].dimensions),
        ];
        for (key, count) in counts {
            said.count(&format!("{architecture}.{key}"), count);
        }
        let key = |name: &str| format!("{architecture}.{name}");
        said.float(&key("attention.layer_norm_rms_epsilon"), spec.norm_epsilon);
        said.float(&key("rope.freq_base"), spec.ropes[0].base);
        if let Some(window) = spec.layers.iter().find_map(|layer| layer.window) {
            said.count(&key("attention.sliding_window"), window);
        }
        let caps = [
            ("attn_logit_softcapping", spec.attention_soft_cap),
            ("final_logit_softcapping", spec.final_soft_cap),
        ];
        for (name, cap) in caps {
            if let Some(cap) = cap {
                said.float(&key(name), cap);
            }
        }
        said.scaling(&spec.ropes[0].scaling, &key);
        said
    }

    fn scaling(&mut self, scaling: &RopeScaling, key: &dyn Fn(&str) -> String) {
        let (kind, context) = (
            key("rope.scaling.type"),
            key("rope.scaling.original_context_length"),
        );
        match scaling {
            RopeScaling::Linear { factor } => {
                self.text(&kind, "linear");
                self.float(&key("rope.scaling.factor"), *factor);
            }
            RopeScaling::Yarn(yarn) => {
                self.text(&kind, "yarn");
                self.float(&key("rope.scaling.factor"), yarn.factor);
                self.count(&context, yarn.original_context);
                self.float(&key("rope.scaling.yarn_beta_fast"), yarn.beta_fast);
                self.float(&key("rope.scaling.yarn_beta_slow"), yarn.beta_slow);
            }
            RopeScaling::LongRope {
                original_context,
                magnitude,
                ..
            } => {
                self.count(&context, *original_context);
                self.float(&key("rope.scaling.attn_factor"), *magnitude);
            }
            _ => {}
        }
    }

    /// As they stand in a file.
    pub(super) fn entries(&self) -> Vec<Entry<'static>> {
        let entry = |(key, word): &(String, Word)| match word {
            Word::Count(count) => Entry::number(key, *count),
            Word::Number(number) => Entry::float(key, *number),
            Word::Text(text) => Entry::text(key, text),
        };
        self.0.iter().map(entry).collect()
    }

    /// As they are read out of one.
    pub(super) fn metadata(&self) -> Metadata {
        Metadata::from_values(self.0.iter().map(|(key, word)| {
            let value = match word {
                Word::Count(count) => Value::Unsigned(u64::from(*count)),
                Word::Number(number) => Value::Float(f64::from(*number)),
                Word::Text(text) => Value::String(text.clone()),
            };
            (key.clone(), value)
        }))
    }

    fn count(&mut self, key: &str, count: usize) {
        // Sizes are checked where a spec is read.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.0.push((key.to_owned(), Word::Count(count)));
    }

    fn float(&mut self, key: &str, number: f32) {
        self.0.push((key.to_owned(), Word::Number(number)));
    }

    fn text(&mut self, key: &str, text: &str) {
        self.0.push((key.to_owned(), Word::Text(text.to_owned())));
    }
}
