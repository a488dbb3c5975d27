//! JSON schemas before they are compiled: bounds, what would be weakened in silence, and where an error is.

use serde_json::{Map, Value, json};

use super::limits::{SCHEMA_DEPTH, SCHEMA_NAMES, SCHEMA_VALUES};
use crate::error::{Error, Result};

/// So many parts are tried when the place of an error is looked for.
const TRIALS: usize = 200;

/// Keys whose value is a schema.
const ONE: &[&str] = &["items", "additionalItems", "additionalProperties"];
/// Keys whose value has a schema for each of some names.
const NAMED: &[&str] = &["properties", "patternProperties", "$defs", "definitions"];
/// Keys whose value is a list of schemas.
const LISTED: &[&str] = &["prefixItems", "items", "anyOf", "oneOf", "allOf"];
/// The formats that drafts define; all others are words for the reader.
const FORMATS: &[&str] = &[
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "idn-email",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];
/// Where the compiler looks for its own settings; one of them takes schemas for less than they say.
pub(super) const SETTINGS: &str = "x-guidance";
/// Between two parts of JSON there may be as much, which deep indents need; without a bound some models write
/// nothing else.
pub(super) const WHITESPACE: &str = r"[\x20\x0A\x0D\x09]{1,40}";

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
    match schema {
        Value::Object(_) => check_parts(schema),
        Value::Bool(_) => Ok(()),
        _ => Err(Error::grammar(
            "",
            "a schema is an object, or true or false",
        )),
    }
}

/// Refuses keys that the compiler takes and does not heed as it should.
fn check_parts(schema: &Value) -> Result<()> {
    let has_references = schema.to_string().contains("\"$ref\"");
    let mut waiting = vec![(schema, String::new())];
    while let Some((part, pointer)) = waiting.pop() {
        let Some(keys) = part.as_object() else {
            continue;
        };
        if keys.contains_key(SETTINGS) {
            let place = format!("{pointer}/{SETTINGS}");
            return Err(Error::grammar(place, "this key is no part of a schema"));
        }
        if let Some(id) = keys.get("$id").and_then(Value::as_str)
            && !(pointer.is_empty() || id.starts_with('#'))
            && has_references
        {
            let place = format!("{pointer}/$id");
            let message = "references beside a part with an $id of its own are not followed";
            return Err(Error::grammar(place, message));
        }
        if keys
            .get("properties")
            .and_then(Value::as_object)
            .is_some_and(|one| one.len() > SCHEMA_NAMES)
        {
            let message = format!("it names more than {SCHEMA_NAMES} keys");
            return Err(Error::grammar(format!("{pointer}/properties"), message));
        }
        if let Some(least) = least_keys(keys)
            && least
                > 1 + keys
                    .get("required")
                    .and_then(Value::as_array)
                    .map_or(0, Vec::len)
        {
            let place = format!("{pointer}/minProperties");
            let message = "keys that have no name in the schema may come twice, so that they cannot be counted; \
                           name them in required, or set additionalProperties to false";
            return Err(Error::grammar(place, message));
        }
        for (step, inner) in parts(keys) {
            waiting.push((inner, format!("{pointer}{step}")));
        }
    }
    Ok(())
}

/// How many keys an object must have, where it may have such that the schema does not name.
fn least_keys(keys: &Map<String, Value>) -> Option<usize> {
    let is_closed = keys.get("additionalProperties") == Some(&Value::Bool(false));
    if is_closed && !keys.contains_key("patternProperties") {
        return None;
    }
    keys.get("minProperties")?
        .as_f64()
        .map(|count| count as usize)
}

/// The schema as it is compiled: formats of dates and times are patterns that hold to the calendar, and those
/// that no draft defines, such as `int32`, ask for nothing.
pub(super) fn prepared(schema: &Value) -> Value {
    let Value::Object(keys) = schema else {
        return schema.clone();
    };
    let mut made = Map::new();
    for (key, value) in keys {
        let value = match value {
            Value::Object(_) if ONE.contains(&key.as_str()) => prepared(value),
            Value::Object(values) if NAMED.contains(&key.as_str()) => values
                .iter()
                .map(|(name, value)| (name.clone(), prepared(value)))
                .collect(),
            Value::Array(values) if LISTED.contains(&key.as_str()) => {
                values.iter().map(prepared).collect()
            }
            value => value.clone(),
        };
        made.insert(key.clone(), value);
    }
    let format = made.get("format").and_then(Value::as_str);
    if format.is_some_and(|name| !FORMATS.contains(&name)) {
        made.remove("format");
    } else if let Some(pattern) = format.and_then(pattern_of_format) {
        made.remove("format");
        let all = made
            .entry("allOf")
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = all {
            all.push(json!({"pattern": pattern}));
        }
    }
    Value::Object(made)
}

/// The schema with settings for the compiler.
pub(super) fn with_settings(mut schema: Value, settings: Value) -> Value {
    if let Value::Object(keys) = &mut schema {
        keys.insert(SETTINGS.to_owned(), settings);
    }
    schema
}

/// A pattern for those formats that the compiler takes for less than they say: there is no 29th of February in
/// most years, and a leap second only at some midnights, so that none is written.
fn pattern_of_format(format: &str) -> Option<String> {
    const LEAP_YEAR: &str =
        "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
    const DAY: &str = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|\
                       02-(?:0[1-9]|1[0-9]|2[0-8]))";
    const HOUR: &str = "(?:[01][0-9]|2[0-3])";
    const MINUTE: &str = "[0-5][0-9]";
    let date = format!("(?:{LEAP_YEAR}-02-29|[0-9]{{4}}-{DAY})");
    let fraction = r"(?:\.[0-9]{1,9})?";
    let time = format!("{HOUR}:{MINUTE}:{MINUTE}{fraction}(?:[Zz]|[+-]{HOUR}:{MINUTE})");
    match format {
        "date" => Some(format!("^{date}$")),
        "time" => Some(format!("^{time}$")),
        "date-time" => Some(format!("^{date}[Tt]{time}$")),
        _ => None,
    }
}

/// The schemas in a schema, with the steps of their pointers.
fn parts(keys: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (key, value) in keys {
        let step = format!("/{}", escaped(key));
        let name = key.as_str();
        let is_map = value.is_object() && NAMED.contains(&name);
        let is_list = value.is_array() && LISTED.contains(&name);
        if is_map || is_list {
            found.extend(
                children(value)
                    .into_iter()
                    .map(|(last, inner)| (format!("{step}/{last}"), inner)),
            );
        } else if ONE.contains(&name) {
            found.push((step, value));
        }
    }
    found
}

/// The values in a value, with the last step of each one's pointer.
fn children(value: &Value) -> Vec<(String, &Value)> {
    match value {
        Value::Object(keys) => keys
            .iter()
            .map(|(key, value)| (escaped(key), value))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
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
        parts(keys).into_iter().find(|(_, value)| {
            value
                .as_object()
                .is_some_and(|inner| self.fails_alike(inner))
        })
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
