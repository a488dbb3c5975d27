//! JSON files beside a model: capped in size, an object at the top, no key twice.

use std::collections::HashSet;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::FormatError;

/// No configuration is near this; `tokenizer.json` is not read here.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads an object from a file.
pub(crate) fn read_object(path: &Path) -> Result<Value, FormatError> {
    let problem = |problem: String| FormatError::Json {
        path: path.to_owned(),
        problem,
    };
    let metadata = std::fs::metadata(path).map_err(FormatError::io("cannot open", path))?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        let size = metadata.len();
        return Err(problem(format!(
            "{size} bytes; a regular file of at most {LARGEST_FILE} is expected"
        )));
    }
    let bytes = std::fs::read(path).map_err(FormatError::io("cannot read", path))?;
    let value = parse(&bytes).map_err(|error| problem(format!("not valid JSON: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(problem("not a JSON object".to_owned()))
    }
}

/// Parses, refusing keys that stand twice: readers differ in which of them counts.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut seen = HashSet::new();
        let mut object = Map::new();
        while let Some((key, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!(
                    "the key '{key}' stands twice"
                )));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
