//! Typed, range-checked reading of a configuration: config.json, or one architecture's GGUF metadata.
//!
//! Both are maps from names to JSON-like values here, so that a family is read the same way from
//! either. Every error names the field, its value and what is allowed. A field that is `null` counts
//! as absent; where a family tells the two apart it asks [`Fields::is_null`].

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A checked view of one object of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    /// `config.json` or `GGUF metadata`, for messages.
    file: &'static str,
    /// What stands before a field's name in messages (`llama.`, `rope_scaling.`).
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(file: &'static str, prefix: String, map: &'a Map<String, Value>) -> Self {
        Fields { file, prefix, map }
    }

    /// The value, unless absent or `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    /// An error about `key`, with its value.
    pub(super) fn refuse(&self, key: &str, reason: &str) -> Error {
        let value = match self.map.get(key) {
            None => "absent".to_owned(),
            Some(value) => abbreviated(value),
        };
        Error::Model(format!(
            "{}: `{}{key}` is {value}: {reason}",
            self.file, self.prefix
        ))
    }

    /// A count between 1 and `largest`.
    pub(super) fn count(&self, key: &str, largest: usize) -> Result<Option<usize>> {
        self.integer(key, 1..=largest as u64)
            .map(|found| found.map(|value| value as usize))
    }

    /// The same, for a field that has no default.
    pub(super) fn required_count(&self, key: &str, largest: usize) -> Result<usize> {
        self.count(key, largest)?
            .ok_or_else(|| self.refuse(key, &format!("must be an integer from 1 to {largest}")))
    }

    /// An integer; one written as `4096.0` counts.
    pub(super) fn integer(&self, key: &str, allowed: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_u64()
            .or_else(|| whole_number(value))
            .filter(|integer| allowed.contains(integer))
            .map(Some)
            .ok_or_else(|| {
                let (least, most) = (allowed.start(), allowed.end());
                self.refuse(key, &format!("must be an integer from {least} to {most}"))
            })
    }

    /// A finite number.
    pub(super) fn number(&self, key: &str, allowed: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_f64()
            .filter(|number| allowed.contains(number))
            .map(Some)
            .ok_or_else(|| {
                let (least, most) = (allowed.start(), allowed.end());
                self.refuse(key, &format!("must be a number from {least} to {most}"))
            })
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.get(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.refuse(key, "must be true or false"))
            })
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| self.refuse(key, "must be a string"))
            })
            .transpose()
    }

    /// A list of strings.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.list(key, Value::as_str, "must be a list of strings")
    }

    /// A list of finite numbers greater than zero.
    pub(super) fn divisors(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let divisor = |value: &Value| {
            let number = value.as_f64()? as f32;
            (number.is_finite() && number > 0.0).then_some(number)
        };
        self.list(key, divisor, "must be a list of numbers greater than 0")
    }

    /// A list of booleans.
    pub(super) fn booleans(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.list(key, Value::as_bool, "must be a list of booleans")
    }

    /// One token id, or a list of them.
    pub(super) fn token_ids(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        match self.get(key) {
            Some(Value::Array(_)) => self.list(key, id, "must be token ids"),
            Some(value) => id(value)
                .map(|one| Some(vec![one]))
                .ok_or_else(|| self.refuse(key, "must be a token id or a list of them")),
            None => Ok(None),
        }
    }

    /// An object inside this one.
    pub(super) fn section(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let map = value
            .as_object()
            .ok_or_else(|| self.refuse(key, "must be an object"))?;
        let prefix = format!("{}{key}.", self.prefix);
        Ok(Some(Fields::new(self.file, prefix, map)))
    }

    fn list<T>(
        &self,
        key: &str,
        item: impl Fn(&'a Value) -> Option<T>,
        rule: &str,
    ) -> Result<Option<Vec<T>>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        value
            .as_array()
            .and_then(|values| values.iter().map(item).collect())
            .map(Some)
            .ok_or_else(|| self.refuse(key, rule))
    }
}

fn whole_number(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    let is_whole = number >= 0.0 && number.fract() == 0.0 && number < 9e15;
    is_whole.then_some(number as u64)
}

/// The value as text, short enough for a message.
fn abbreviated(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = match value {
        Value::Array(values) if values.len() > 8 => format!("a list of {}", values.len()),
        Value::Object(map) if map.len() > 8 => format!("an object of {} fields", map.len()),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain("...".chars()).collect()
}
