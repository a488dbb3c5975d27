//! JSON from outside: capped in bytes, values and depth; an object at the top, no key twice.
//!
//! A list of a million ones is two megabytes of text and dozens in memory, so values are counted
//! while they are read. serde_json itself refuses more than 128 levels.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::FormatError;
use crate::error::{quoted, reader_words};
use crate::mapping::open_regular;

/// Published configurations are a hundredth of this; `tokenizer.json` is not read here.
const LARGEST_FILE: u64 = 4 << 20;
const MOST_VALUES: usize = 100_000;

/// Reads an object from a file.
pub(crate) fn read_object(path: &Path) -> Result<Value, FormatError> {
    let (file, length) = open_regular(path)?;
    if length > LARGEST_FILE {
        let problem = format!("{length} bytes; at most {LARGEST_FILE} are allowed");
        return Err(FormatError::json(path, problem));
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read; what comes then makes the JSON invalid.
    file.take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(FormatError::io("cannot read", path))?;
    let not_json =
        |error| FormatError::json(path, format!("not valid JSON: {}", reader_words(&error)));
    let limits = Limits::new(MOST_VALUES, bytes.len());
    let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
    let value = Strict(&limits)
        .deserialize(&mut deserializer)
        .map_err(not_json)?;
    deserializer.end().map_err(not_json)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(FormatError::json(path, "not a JSON object"))
    }
}

/// How many values and how long strings a piece of JSON may hold.
#[derive(Debug)]
pub(crate) struct Limits {
    values_left: Cell<usize>,
    longest_string: usize,
}

impl Limits {
    pub(crate) fn new(most_values: usize, longest_string: usize) -> Self {
        Self {
            values_left: Cell::new(most_values),
            longest_string,
        }
    }

    fn take_value<E: Error>(&self) -> Result<(), E> {
        let left = self.values_left.get().checked_sub(1);
        self.values_left
            .set(left.ok_or_else(|| E::custom("too many values"))?);
        Ok(())
    }
}

/// Any value within limits; keys that stand twice are refused, readers differ in which counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strict<'a>(pub(crate) &'a Limits);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.take_value()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        let longest = self.0.longest_string;
        Text { longest }.visit_str(value).map(Value::String)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let longest = self.0.longest_string;
        let mut object = Map::new();
        while let Some(key) = entries.next_key_seed(Text { longest })? {
            if object.contains_key(&key) {
                let problem = format!("the key '{}' stands twice", quoted(&key));
                return Err(A::Error::custom(problem));
            }
            object.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Value::Object(object))
    }
}

/// A string of at most so many bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) longest: usize,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.len() <= self.longest {
            return Ok(text.to_owned());
        }
        let (length, longest) = (text.len(), self.longest);
        Err(E::custom(format_args!(
            "a string of {length} bytes; at most {longest} are allowed"
        )))
    }
}

/// A string of any length that is not kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkippedText;

impl<'de> DeserializeSeed<'de> for SkippedText {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for SkippedText {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }
    fn visit_str<E>(self, _text: &str) -> Result<(), E> {
        Ok(())
    }
}
