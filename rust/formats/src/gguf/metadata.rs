//! Typed key-values of a GGUF file.

use std::collections::BTreeMap;

use crate::Strings;

/// A value of a GGUF file; integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each holds what its name says")]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Strings(Strings),
    /// An array of integers that all fit 32 bits.
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Bools(Vec<bool>),
    Arrays(Vec<Value>),
}

/// All key-values of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn new(values: BTreeMap<String, Value>) -> Self {
        Self { values }
    }

    /// Metadata from ready values, for configurations made in memory.
    pub fn from_values(values: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A string.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// An integer of any width that fits.
    pub fn get_u32(&self, key: &str) -> Option<u32> {
        match self.get(key)? {
            Value::Unsigned(value) => u32::try_from(*value).ok(),
            Value::Signed(value) => u32::try_from(*value).ok(),
            _ => None,
        }
    }

    /// A float of any width.
    pub fn get_f32(&self, key: &str) -> Option<f32> {
        match self.get(key)? {
            Value::Float(value) => Some(*value as f32),
            _ => None,
        }
    }

    /// A truth value.
    pub fn get_bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// An array of strings.
    pub fn get_strings(&self, key: &str) -> Option<&Strings> {
        match self.get(key)? {
            Value::Strings(strings) => Some(strings),
            _ => None,
        }
    }

    /// An array of floats.
    pub fn get_f32s(&self, key: &str) -> Option<&[f32]> {
        match self.get(key)? {
            Value::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// An array of integers.
    pub fn get_integers(&self, key: &str) -> Option<&[i64]> {
        match self.get(key)? {
            Value::Integers(values) => Some(values),
            _ => None,
        }
    }

    /// An array of truth values.
    pub fn get_bools(&self, key: &str) -> Option<&[bool]> {
        match self.get(key)? {
            Value::Bools(values) => Some(values),
            _ => None,
        }
    }
}
