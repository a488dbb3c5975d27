//! What a piece of JSON would make of a reader's memory and time, counted without reading it.
//!
//! `[{},{},{}]` is three bytes a member as text and a hundred as objects, so a server counts before
//! it parses. One pass over the bytes, without recursion or allocation; whether they are JSON at all,
//! the parser says after it.

/// What is nested deeper ends the scan: nobody would take it.
const DEEPEST: usize = 128;

/// How much of each kind stands in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonShape {
    /// Objects and lists inside each other; 129 for what is deeper than that, and nothing is
    /// counted behind such a place.
    pub depth: usize,
    /// Objects and lists.
    pub containers: usize,
    /// Members of the object that has the most.
    pub members: usize,
    /// Strings, the names of members included.
    pub texts: usize,
    /// Numbers, `true`, `false` and `null`.
    pub numbers: usize,
    /// Those of the numbers that have a fraction or an exponent.
    pub fractions: usize,
    /// Bytes of the longest number.
    pub longest_number: usize,
    /// Escapes such as `\ud83d`, which may be half of a character.
    pub surrogates: usize,
}

impl JsonShape {
    /// All of it under the names of its fields.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, usize); 8] {
        [
            ("depth", self.depth),
            ("containers", self.containers),
            ("members", self.members),
            ("texts", self.texts),
            ("numbers", self.numbers),
            ("fractions", self.fractions),
            ("longest_number", self.longest_number),
            ("surrogates", self.surrogates),
        ]
    }

    /// Counts what stands in `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut shape = Self::default();
        // Members so far of each object that is open.
        let mut open = [0_usize; DEEPEST];
        let mut level = 0;
        let mut place = 0;
        while let Some(&byte) = bytes.get(place) {
            place += 1;
            match byte {
                b'"' => {
                    shape.texts += 1;
                    place = shape.take_string(bytes, place);
                }
                b'{' | b'[' => {
                    shape.containers += 1;
                    level += 1;
                    shape.depth = shape.depth.max(level);
                    let Some(members) = open.get_mut(level - 1) else {
                        break;
                    };
                    *members = 0;
                }
                b'}' | b']' => level = level.saturating_sub(1),
                b':' => {
                    if let Some(members) = open.get_mut(level.saturating_sub(1)) {
                        *members += 1;
                        shape.members = shape.members.max(*members);
                    }
                }
                b',' | b' ' | b'\n' | b'\r' | b'\t' => {}
                _ => {
                    let end = after_scalar(bytes, place);
                    shape.take_scalar(&bytes[place - 1..end]);
                    place = end;
                }
            }
        }
        shape
    }

    /// Gives the place behind the mark that ends a string; `place` is behind the one that began it.
    fn take_string(&mut self, bytes: &[u8], mut place: usize) -> usize {
        while let Some(&byte) = bytes.get(place) {
            place += 1;
            match byte {
                b'"' => return place,
                b'\\' => {
                    let escape = bytes.get(place..place + 3).unwrap_or_default();
                    let is_surrogate = matches!(
                        escape,
                        [b'u', b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']
                    );
                    self.surrogates += usize::from(is_surrogate);
                    place += 1;
                }
                _ => {}
            }
        }
        bytes.len()
    }

    fn take_scalar(&mut self, scalar: &[u8]) {
        self.numbers += 1;
        if matches!(scalar[0], b'-' | b'0'..=b'9') {
            self.longest_number = self.longest_number.max(scalar.len());
            self.fractions +=
                usize::from(scalar.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')));
        }
    }
}

/// The place behind a number or a word.
fn after_scalar(bytes: &[u8], place: usize) -> usize {
    let ends = |byte: &u8| {
        matches!(
            byte,
            b'"' | b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\n' | b'\r' | b'\t'
        )
    };
    let length = bytes[place..].iter().position(ends);
    length.map_or(bytes.len(), |length| place + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::JsonShape;

    /// The same, counted in what serde_json read.
    fn counted(value: &Value, level: usize, shape: &mut JsonShape) {
        match value {
            Value::String(_) => shape.texts += 1,
            Value::Array(items) => {
                shape.containers += 1;
                shape.depth = shape.depth.max(level + 1);
                for item in items {
                    counted(item, level + 1, shape);
                }
            }
            Value::Object(members) => {
                shape.containers += 1;
                shape.depth = shape.depth.max(level + 1);
                shape.members = shape.members.max(members.len());
                shape.texts += members.len();
                for item in members.values() {
                    counted(item, level + 1, shape);
                }
            }
            Value::Number(number) => {
                let text = number.to_string();
                shape.numbers += 1;
                shape.longest_number = shape.longest_number.max(text.len());
                shape.fractions += usize::from(text.contains(['.', 'e']));
            }
            Value::Null | Value::Bool(_) => shape.numbers += 1,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[\\\\\"{}\\[\\]:,a0\u{e9}\u{1f600}\n -]{0,12}".prop_map(Value::from),
        ];
        scalar.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[\\\\\"{}:,a]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_counts_what_a_parser_finds(value in any_json()) {
            let mut expected = JsonShape::default();
            counted(&value, 0, &mut expected);
            for text in [value.to_string(), format!("{value:#}")] {
                prop_assert_eq!(JsonShape::of(text.as_bytes()), expected);
            }
        }

        #[test]
        fn any_bytes_are_counted(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let shape = JsonShape::of(&bytes);
            prop_assert!(shape.containers + shape.texts + shape.numbers <= bytes.len());
        }
    }

    #[test]
    fn members_are_those_of_one_object() {
        let shape = JsonShape::of(
            json!([{"a": {"b": 1}, "c": 2}, {"d": 3}])
                .to_string()
                .as_bytes(),
        );
        assert_eq!((shape.members, shape.texts, shape.containers), (2, 4, 4));
    }

    #[test]
    fn escapes_that_may_be_half_a_character_are_counted() {
        let text = br#"["\ud83d\ude00", "\uD7FF\\ud800", "\uDfff", "\ud"]"#;
        assert_eq!(JsonShape::of(text).surrogates, 3);
    }

    #[test]
    fn what_is_too_deep_ends_the_scan() {
        let bytes = vec![b'['; 4_000_000];
        let shape = JsonShape::of(&bytes);
        assert_eq!((shape.depth, shape.containers), (129, 129));
    }

    #[test]
    fn what_is_no_json_is_counted_too() {
        for (text, texts, numbers) in [
            ("\"ab", 1, 0),
            ("\"a\\", 1, 0),
            ("]]:}", 0, 0),
            ("nul-1.5", 0, 1),
        ] {
            let shape = JsonShape::of(text.as_bytes());
            assert_eq!((shape.texts, shape.numbers), (texts, numbers), "{text}");
        }
    }
}
