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

pub use files::{spec_from_files, spec_of_gguf};
pub use source::{ConfigSource, GgufSource, StoredTensors};

use super::spec::{ModelSpec, RotaryLayout};
use crate::{Error, Result};

/// A family, by the names that files give it.
struct Family {
    /// `model_type` in config.json.
    model_type: &'static str,
    /// The class in config.json's `architectures`.
    class: &'static str,
    /// How GGUF files have it; of families that are one there, the first reads them.
    in_gguf: InGguf,
    from_config: fn(&ConfigSource) -> Result<ModelSpec>,
    from_gguf: fn(&GgufSource) -> Result<ModelSpec>,
}

/// A family as GGUF files have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InGguf {
    /// `general.architecture`
    pub architecture: &'static str,
    /// How the converter orders the rows of Q and K.
    pub rotary_layout: RotaryLayout,
}

impl InGguf {
    const fn new(architecture: &'static str) -> Self {
        Self {
            architecture,
            rotary_layout: RotaryLayout::Halves,
        }
    }
}

/// Llama 2 and 3, SmolLM2 and Mistral.
const LLAMA_IN_GGUF: InGguf = InGguf {
    architecture: "llama",
    rotary_layout: RotaryLayout::AdjacentPairs,
};

const FAMILIES: [Family; 7] = [
    Family {
        model_type: "llama",
        class: "LlamaForCausalLM",
        in_gguf: LLAMA_IN_GGUF,
        from_config: llama::from_config,
        from_gguf: llama::from_gguf,
    },
    Family {
        model_type: "mistral",
        class: "MistralForCausalLM",
        in_gguf: LLAMA_IN_GGUF,
        from_config: llama::mistral_from_config,
        from_gguf: llama::from_gguf,
    },
    Family {
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        in_gguf: InGguf::new("qwen2"),
        from_config: qwen::qwen2_from_config,
        from_gguf: qwen::qwen2_from_gguf,
    },
    Family {
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        in_gguf: InGguf::new("qwen3"),
        from_config: qwen::qwen3_from_config,
        from_gguf: qwen::qwen3_from_gguf,
    },
    Family {
        model_type: "phi3",
        class: "Phi3ForCausalLM",
        in_gguf: InGguf::new("phi3"),
        from_config: phi::from_config,
        from_gguf: phi::from_gguf,
    },
    Family {
        model_type: "gemma2",
        class: "Gemma2ForCausalLM",
        in_gguf: InGguf::new("gemma2"),
        from_config: gemma::gemma2_from_config,
        from_gguf: gemma::gemma2_from_gguf,
    },
    Family {
        model_type: "gemma3_text",
        class: "Gemma3ForCausalLM",
        in_gguf: InGguf::new("gemma3"),
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
        .find(|family| family.in_gguf.architecture == source.architecture);
    let Some(family) = found else {
        let mut known: Vec<_> = FAMILIES.map(|family| family.in_gguf.architecture).into();
        known.dedup();
        let known = listed(known.into_iter());
        return Err(Error::Model(format!(
            "GGUF metadata: `general.architecture` is `{}`: unknown kind of model; known are {known}",
            source.architecture
        )));
    };
    let mut spec = (family.from_gguf)(source)?;
    spec.rotary_layout = family.in_gguf.rotary_layout;
    limits::checked(spec)
}

/// How GGUF files have a model, by the architecture of its spec, wherever that was read.
pub fn in_gguf(architecture: &str) -> Option<InGguf> {
    let names = |family: &&Family| {
        [family.in_gguf.architecture, family.class, family.model_type].contains(&architecture)
    };
    FAMILIES.iter().find(names).map(|family| family.in_gguf)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
