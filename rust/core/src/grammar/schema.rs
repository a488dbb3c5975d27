//! JSON schemas before they are compiled: bounds, what would be weakened in silence, and where an error is.

use serde_json::{Map, Value};

use super::limits::{SCHEMA_DEPTH, SCHEMA_VALUES};
use crate::error::{Error, Result};

/// So many parts are tried when the place of an error is looked for.
const TRIALS: usize = 200;

/// Keys whose value is a schema.
const ONE: &[&str] = &[
    "items",
    "additionalItems",
    "additionalProperties",
];
/// Keys whose values are schemas.
const MANY: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "prefixItems",
    "items",
    "anyOf",
    "oneOf",
    "allOf",
];

/// Reads a schema; one that is no JSON has no place in it.
pub(super) fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|error| Error::grammar("", format!("the schema is no JSON: {error}")))
}

/// Refuses what is too large, and what would not be honoured though it compiles.
pub(super) fn check(schema: &Value) -> Result<()> {
    let mut values = 0;
    let mut waiting = vec![(schema, String::new(), 0)];
    while let Some((value, pointer, depth)) = waiting.pop() {
        values += 1;
        if values > SCHEMA_VALUES {
            return Err(Error::grammar(
                "",
                format!("the schema has more than {SCHEMA_VALUES} values in all"),
            ));
        }
        if depth > SCHEMA_DEPTH {
            return Err(Error::grammar(
                pointer,
                format!("it is deeper than {SCHEMA_DEPTH} values in each other"),
            ));
        }
        for (key, inner) in children(value) {
            waiting.push((inner, format!("{pointer}/{key}"), depth + 1));
        }
    }
    check_words(schema)
}

fn check_words(schema: &Value) -> Result<()> {
    match schema {
        Value::Object(keys) if keys.contains_key("x-guidance") => Err(Error::grammar(
            "/x-guidance",
            "this key is no part of a schema".to_owned(),
        )),
        Value::Object(_) | Value::Bool(_) => Ok(()),
        _ => Err(Error::grammar(
            "",
            "a schema is an object, or true or false".to_owned(),
        )),
    }
}

/// The values in a value, with the last step of each one's pointer.
fn children(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(keys) => keys.iter().map(|(key, value)| (escaped(key), value)).collect(),
        Value::Array(values) => {
            values.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    }
}

/// A key as JSON pointers have it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The pointer to the smallest part of a schema that is refused for the same reason, the empty one where
/// it is only the whole. `error_of` compiles a schema of its own.
pub(super) fn locate(
    schema: &Value,
    message: &str,
    error_of: &dyn Fn(&Value) -> Option<String>,
) -> String {
    let mut search = Search {
        root: schema,
        message,
        error_of,
        trials: TRIALS,
    };
    let mut pointer = String::new();
    let mut part = schema;
    while let Some((step, inner)) = search.inner(part) {
        pointer.push_str(&step);
        part = inner;
    }
    if let Some(key) = search.key(part) {
        pointer = format!("{pointer}/{}", escaped(&key));
    }
    pointer
}

struct Search<'a> {
    root: &'a Value,
    message: &'a str,
    error_of: &'a dyn Fn(&Value) -> Option<String>,
    trials: usize,
}

impl<'a> Search<'a> {
    fn fails_alike(&mut self, keys: &Map<String, Value>) -> bool {
        if self.trials == 0 {
            return false;
        }
        self.trials -= 1;
        let mut keys = keys.clone();
        for name in ["$defs", "definitions"] {
            if let (Some(value), false) = (self.root.get(name), keys.contains_key(name)) {
                keys.insert(name.to_owned(), value.clone());
            }
        }
        (self.error_of)(&Value::Object(keys)).is_some_and(|error| error == self.message)
    }

    /// A schema in this one that is refused for the same reason.
    fn inner(&mut self, part: &'a Value) -> Option<(String, &'a Value)> {
        let keys = part.as_object()?;
        for (key, value) in keys {
            if ONE.contains(&key.as_str())
                && let Some(inner) = value.as_object()
                && self.fails_alike(inner)
            {
                return Some((format!("/{}", escaped(key)), value));
            }
            if !MANY.contains(&key.as_str()) {
                continue;
            }
            for (step, value) in children(value) {
                if let Some(inner) = value.as_object()
                    && self.fails_alike(inner)
                {
                    return Some((format!("/{}/{step}", escaped(key)), value));
                }
            }
        }
        None
    }

    /// The key without which this schema would be taken.
    fn key(&mut self, part: &Value) -> Option<String> {
        let keys = part.as_object()?;
        keys.keys()
            .find(|key| {
                let mut without = keys.clone();
                without.remove(*key);
                !self.fails_alike(&without)
            })
            .cloned()
    }
}
