//! The families that this engine knows, each filled from a file's metadata.
//!
//! [`FAMILIES`] is the list. A family starts from the plain decoder of [`config`] (config.json) or
//! [`gguf`] (GGUF metadata) and changes what it does differently; what a file asks for and no family
//! has is refused by name ([`refusals`]). Nothing here reads weights.

mod config;
mod fields;
mod files;
mod gemma;
mod gguf;
mod limits;
mod llama;
mod names;
mod phi;
mod qwen;
mod refusals;
mod rope_config;
mod rope_gguf;
mod source;

pub use files::spec_from_files;
pub use source::{ConfigSource, GgufSource, StoredTensors};

use super::spec::ModelSpec;
use crate::{Error, Result};

/// A family, by the names that files give it.
struct Family {
    /// `model_type` in config.json.
    model_type: &'static str,
    /// The class in config.json's `architectures`.
    class: &'static str,
    /// `general.architecture` in GGUF; `None` where another family's stands for it.
    architecture: Option<&'static str>,
    from_config: fn(&ConfigSource) -> Result<ModelSpec>,
    from_gguf: fn(&GgufSource) -> Result<ModelSpec>,
}

const FAMILIES: [Family; 7] = [
    Family {
        model_type: "llama",
        class: "LlamaForCausalLM",
        architecture: Some("llama"),
        from_config: llama::from_config,
        from_gguf: llama::from_gguf,
    },
    Family {
        model_type: "mistral",
        class: "MistralForCausalLM",
        architecture: None,
        from_config: llama::mistral_from_config,
        from_gguf: llama::from_gguf,
    },
    Family {
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        architecture: Some("qwen2"),
        from_config: qwen::qwen2_from_config,
        from_gguf: qwen::qwen2_from_gguf,
    },
    Family {
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        architecture: Some("qwen3"),
        from_config: qwen::qwen3_from_config,
        from_gguf: qwen::qwen3_from_gguf,
    },
    Family {
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        architecture: Some("phi3"),
        from_config: phi::from_config,
        from_gguf: phi::from_gguf,
    },
    Family {
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        architecture: Some("gemma2"),
        from_config: gemma::gemma2_from_config,
        from_gguf: gemma::gemma2_from_gguf,
    },
    Family {
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        architecture: Some("gemma3"),
        from_config: gemma::gemma3_from_config,
        from_gguf: gemma::gemma3_from_gguf,
    },
];

/// The spec of a model in the Hugging Face layout.
pub fn spec_from_config(source: &ConfigSource) -> Result<ModelSpec> {
    let config = source.fields();
    let model_type = config.text("model_type")?;
    let classes = config.texts("architectures")?.unwrap_or_default();
    let found = FAMILIES.iter().find(|family| match model_type {
        Some(model_type) => family.model_type == model_type,
        None => classes.contains(&family.class),
    });
    let Some(family) = found else {
        let key = if model_type.is_some() {
            "model_type"
        } else {
            "architectures"
        };
        let known = listed(FAMILIES.iter().map(|family| family.model_type));
        return Err(config.refuse(key, &format!("unknown kind of model; known are {known}")));
    };
    if !classes.is_empty() && !classes.contains(&family.class) {
        let rule = format!("a {} must be a {}", family.model_type, family.class);
        return Err(config.refuse("architectures", &rule));
    }
    limits::checked((family.from_config)(source)?)
}

/// The spec of a GGUF model.
pub fn spec_from_metadata(source: &GgufSource) -> Result<ModelSpec> {
    let found = FAMILIES
        .iter()
        .find(|family| family.architecture == Some(source.architecture));
    let Some(family) = found else {
        let known = listed(FAMILIES.iter().filter_map(|family| family.architecture));
        return Err(Error::Model(format!(
            "GGUF metadata: `general.architecture` is `{}`: unknown kind of model; known are {known}",
            source.architecture
        )));
    };
    limits::checked((family.from_gguf)(source)?)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
