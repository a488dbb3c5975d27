//! Files in memory for the tests of families.

use std::collections::BTreeMap;

use ruvllm_core::model::families::{
    ConfigSource, GgufSource, StoredTensors, spec_from_config, spec_from_metadata,
};
use ruvllm_core::model::spec::ModelSpec;
use ruvllm_core::{Error, Result};
use serde_json::{Map, Value};

/// Tensors by name: a shape, and values where a test gives them.
#[derive(Default, Clone)]
pub(crate) struct Tensors(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Tensors {
    pub(crate) fn with_shape(mut self, name: &str, shape: &[usize]) -> Self {
        self.0.insert(name.into(), (shape.to_vec(), Vec::new()));
        self
    }

    pub(crate) fn with_values(mut self, name: &str, values: &[f32]) -> Self {
        let entry = (vec![values.len()], values.to_vec());
        self.0.insert(name.into(), entry);
        self
    }
}

impl StoredTensors for Tensors {
    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).map(|(shape, _)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<f32>>> {
        Ok(self.0.get(name).map(|(_, values)| values.clone()))
    }
}

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

pub(crate) fn config_spec(config: &Value, tensors: &Tensors) -> Result<ModelSpec> {
    let config = object(config);
    spec_from_config(&ConfigSource {
        config: &config,
        generation: None,
        tensors,
    })
}

pub(crate) fn gguf_spec(architecture: &str, keys: &Value, tensors: &Tensors) -> Result<ModelSpec> {
    spec_from_metadata(&GgufSource {
        architecture,
        name: None,
        keys: &object(keys),
        tensors,
    })
}

/// `base` with the fields of `changes` set; a field that is `"<absent>"` is removed.
pub(crate) fn changed(base: &Value, changes: &Value) -> Value {
    let mut map = object(base);
    for (key, value) in changes.as_object().expect("an object") {
        if value == "<absent>" {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    Value::Object(map)
}

/// The message of a refusal, if it is one.
pub(crate) fn message(result: Result<ModelSpec>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(Error::Model(message)) => Some(message),
        Err(other) => Some(format!("not a model error: {other}")),
    }
}
