//! From opened files to the sources that families read.

use ruvllm_formats::{Metadata, ModelFiles, TensorType, Value};
use serde_json::{Map, Value as Json};

use super::{ConfigSource, GgufSource, StoredTensors, spec_from_config, spec_from_metadata};
use crate::model::spec::ModelSpec;
use crate::{Error, Result};

impl StoredTensors for ModelFiles {
    fn names(&self) -> Vec<&str> {
        self.tensors().map(|info| info.name.as_str()).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensor(name).map(|(info, _)| info.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some((info, bytes)) = self.tensor(name) else {
            return Ok(None);
        };
        if info.tensor_type != TensorType::F32 {
            let found = info.tensor_type.name();
            return Err(Error::Model(format!(
                "tensor '{name}' has type {found}; it must be F32"
            )));
        }
        let values = bytes.as_chunks::<4>().0.iter();
        Ok(Some(
            values.map(|value| f32::from_le_bytes(*value)).collect(),
        ))
    }
}

/// The spec of an opened model.
pub fn spec_from_files(files: &ModelFiles) -> Result<ModelSpec> {
    if let Some(metadata) = files.metadata() {
        return spec_of_gguf(metadata, files);
    }
    let config = files.config().and_then(Json::as_object);
    let config =
        config.ok_or_else(|| Error::Model("config.json is missing or no object".to_owned()))?;
    let generation = files.generation_config().and_then(Json::as_object);
    spec_from_config(&ConfigSource {
        config,
        generation,
        tensors: files,
    })
}

/// The spec of a GGUF file that says this and has these tensors.
pub fn spec_of_gguf(metadata: &Metadata, tensors: &dyn StoredTensors) -> Result<ModelSpec> {
    let architecture = metadata.get_str("general.architecture").ok_or_else(|| {
        Error::Model("GGUF metadata: 'general.architecture' is missing or no string".to_owned())
    })?;
    spec_from_metadata(&GgufSource {
        architecture,
        name: metadata.get_str("general.name"),
        keys: &architecture_keys(metadata, architecture),
        tensors,
    })
}

/// The keys of an architecture, without its name before them.
fn architecture_keys(metadata: &Metadata, architecture: &str) -> Map<String, Json> {
    let prefix = format!("{architecture}.");
    let keys = metadata
        .keys()
        .filter_map(|key| Some((key, key.strip_prefix(&prefix)?)));
    keys.filter_map(|(key, short)| Some((short.to_owned(), json(metadata.get(key)?))))
        .collect()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Unsigned(value) => (*value).into(),
        Value::Signed(value) => (*value).into(),
        // JSON has no such numbers, and `null` would count as absent.
        Value::Float(value) if !value.is_finite() => value.to_string().into(),
        Value::Float(value) => (*value).into(),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Strings(texts) => texts.iter().map(Json::from).collect(),
        Value::Integers(values) => values.iter().copied().map(Json::from).collect(),
        Value::Floats(values) => values.iter().copied().map(Json::from).collect(),
        Value::Bools(values) => values.iter().copied().map(Json::from).collect(),
        Value::Arrays(values) => values.iter().map(json).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_architecture_lose_its_name_and_nothing_else() {
        let value = |key: &str, value| (key.to_owned(), value);
        let metadata = Metadata::from_values([
            value("llama.block_count", Value::Unsigned(3)),
            value("llama.rope.freq_base", Value::Float(f64::NAN)),
            value("llama.rope.scaling.factor", Value::Float(0.5)),
            value("llama2.block_count", Value::Unsigned(4)),
            value("general.name", Value::String("a name".to_owned())),
        ]);
        let keys = architecture_keys(&metadata, "llama");
        let expected = serde_json::json!({
            "block_count": 3, "rope.freq_base": "NaN", "rope.scaling.factor": 0.5
        });
        assert_eq!(Json::Object(keys), expected);
    }
}
