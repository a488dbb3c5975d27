//! The schemas in a grammar of Lark (`%json {...}`): held to the same as one that stands alone.

use serde_json::{Deserializer, Value, json};

use super::schema::{self, SETTINGS, WHITESPACE};
use crate::error::{Error, Result};

const KEYWORD: &str = "%json";
/// Settings that take a schema for less than it says.
const WEAKER: &[&str] = &["lenient", "coerce_one_of"];

/// The grammar with its schemas as they are compiled; an error for what one of them says and would not be heeded.
pub(super) fn prepared(grammar: &str) -> Result<String> {
    let mut made = String::with_capacity(grammar.len());
    let mut rest = grammar;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(KEYWORD) {
            made.push_str(KEYWORD);
            rest = after;
            let mut values = Deserializer::from_str(after).into_iter::<Value>();
            // Of what is no JSON the compiler says where it stands.
            if let Some(Ok(schema)) = values.next() {
                made.push(' ');
                made.push_str(&honest(schema)?.to_string());
                rest = &after[values.byte_offset()..];
            }
            continue;
        }
        let (part, after) = rest.split_at(quoted(rest).unwrap_or(first.len_utf8()));
        made.push_str(part);
        rest = after;
    }
    Ok(made)
}

fn honest(mut schema: Value) -> Result<Value> {
    let settings = schema
        .as_object_mut()
        .and_then(|keys| keys.shift_remove(SETTINGS))
        .unwrap_or_else(|| json!({"whitespace_pattern": WHITESPACE}));
    if let Some(name) = WEAKER.iter().find(|name| settings.get(**name).is_some()) {
        let place = format!("/{SETTINGS}/{name}");
        return Err(Error::grammar(
            place,
            "it takes the schema for less than it says",
        ));
    }
    schema::check(&schema)?;
    Ok(schema::with_settings(schema::prepared(&schema), settings))
}

/// How long the text, pattern, token or remark is that begins here, in which no keyword stands.
fn quoted(rest: &str) -> Option<usize> {
    let length = match rest.as_bytes() {
        [b'#', ..] | [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
        [b'"', ..] => through(rest, '"'),
        [b'/', ..] => through(rest, '/'),
        [b'<', ..] => rest
            .find(['>', ' ', '\t', '\r', '\n'])
            .map_or(1, |end| end + 1),
        _ => return None,
    };
    Some(length)
}

/// How long it is through the next such character that no backslash stands before.
fn through(rest: &str, end: char) -> usize {
    let mut is_escaped = false;
    for (place, character) in rest.char_indices().skip(1) {
        if !is_escaped && character == end {
            return place + 1;
        }
        is_escaped = !is_escaped && character == '\\';
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_schemas_are_changed() {
        let grammar = "start: \"%json {\\\"\" /[\"%json\\/]{1}/ <%json> x // %json {\"a\"\n# %json {\nx: %json 7";
        assert_eq!(
            prepared(grammar.trim_end_matches('7')).unwrap(),
            grammar.trim_end_matches('7')
        );
        let made = prepared("a: \"é\" %json {\"format\": \"date\"} \"b\"").unwrap();
        assert!(
            made.starts_with("a: \"é\" %json {\"allOf\":[{\"pattern\":"),
            "{made}"
        );
        assert!(
            made.contains("whitespace_pattern") && made.ends_with("}} \"b\""),
            "{made}"
        );
        let own = "a: %json {\"x-guidance\":{\"whitespace_flexible\":false}}";
        assert_eq!(prepared(own).unwrap(), own);
    }

    #[test]
    fn what_would_be_weakened_is_refused() {
        for (schema, place) in [
            (
                "{\"x-guidance\": {\"lenient\": true}}",
                "/x-guidance/lenient",
            ),
            (
                "{\"items\": {\"minProperties\": 9}}",
                "/items/minProperties",
            ),
            ("7", ""),
        ] {
            let error = prepared(&format!("start: \"a\" %json {schema}")).unwrap_err();
            assert!(
                matches!(&error, Error::Grammar { pointer, .. } if pointer == place),
                "{error:?}"
            );
        }
    }
}
