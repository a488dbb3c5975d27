//! Key-values as they stand in a file, to be carried into another one as they are.

use std::borrow::Cow;

use super::{Budgets, read_head, values};
use crate::FormatError;
use crate::cursor::Cursor;

/// GGUF's numbers for values of four bytes without a sign, of a float of four bytes, of a text.
const UNSIGNED: u32 = 4;
const FLOAT: u32 = 6;
const TEXT: u32 = 8;

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its key.
    pub key: Cow<'a, str>,
    /// The value's type, and the value.
    pub bytes: Cow<'a, [u8]>,
}

impl Entry<'_> {
    /// A number of 32 bits.
    pub fn number(key: &str, number: u32) -> Entry<'static> {
        Entry::of(key, UNSIGNED, &number.to_le_bytes())
    }

    /// A float of 32 bits.
    pub fn float(key: &str, number: f32) -> Entry<'static> {
        Entry::of(key, FLOAT, &number.to_le_bytes())
    }

    /// A text.
    pub fn text(key: &str, text: &str) -> Entry<'static> {
        let length = (text.len() as u64).to_le_bytes();
        Entry::of(key, TEXT, &[&length, text.as_bytes()].concat())
    }

    fn of(key: &str, kind: u32, value: &[u8]) -> Entry<'static> {
        Entry {
            key: Cow::Owned(key.to_owned()),
            bytes: Cow::Owned([&kind.to_le_bytes(), value].concat()),
        }
    }
}

/// All of a file, in its order; each is checked as it is for [`parse`](super::parse).
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, FormatError> {
    let mut cursor = Cursor::new(bytes);
    let head = read_head(&mut cursor)?;
    let mut found = Vec::new();
    let mut budget = Budgets::default().metadata;
    for _ in 0..head.values {
        let before = cursor.clone();
        let read = values::read(&mut cursor, 1, &mut budget)?;
        let Some(key) = read.keys().next() else {
            continue;
        };
        // A key stands behind its length, a value behind its key.
        let begin = before.offset() + size_of::<u64>() + key.len();
        found.push(Entry {
            key: Cow::Owned(key.to_owned()),
            bytes: Cow::Borrowed(&bytes[begin..cursor.offset()]),
        });
    }
    Ok(found)
}
