//! What a family is read from: the configuration, and a few questions about the file's tensors.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::Result;

/// The file's tensors, as far as a family asks about them.
///
/// Some of a model's configuration stands in tensors: rotary divisors, whether biases exist, and the
/// size of the vocabulary.
pub trait StoredTensors {
    /// All names, sorted.
    fn names(&self) -> Vec<&str>;
    /// The shape, outermost dimension first.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// The values of a small f32 tensor; an error if it is of another type.
    fn read(&self, name: &str) -> Result<Option<Vec<f32>>>;

    /// Whether the file holds the tensor.
    fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }
}

/// A safetensors model: config.json and generation_config.json.
#[derive(Clone, Copy)]
pub struct ConfigSource<'a> {
    /// The object in config.json.
    pub config: &'a Map<String, Value>,
    /// The object in generation_config.json.
    pub generation: Option<&'a Map<String, Value>>,
    /// The tensors beside it.
    pub tensors: &'a dyn StoredTensors,
}

impl<'a> ConfigSource<'a> {
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields::new("config.json", String::new(), self.config)
    }

    pub(super) fn generation_fields(&self) -> Option<Fields<'a>> {
        self.generation
            .map(|map| Fields::new("generation_config.json", String::new(), map))
    }
}

/// A GGUF model: the metadata of its architecture.
#[derive(Clone, Copy)]
pub struct GgufSource<'a> {
    /// `general.architecture`.
    pub architecture: &'a str,
    /// `general.name`.
    pub name: Option<&'a str>,
    /// The keys that begin with the architecture's name and a dot, without them.
    pub keys: &'a Map<String, Value>,
    /// The tensors of the file.
    pub tensors: &'a dyn StoredTensors,
}

impl<'a> GgufSource<'a> {
    pub(super) fn fields(&self) -> Fields<'a> {
        Fields::new(
            "GGUF metadata",
            format!("{}.", self.architecture),
            self.keys,
        )
    }
}
