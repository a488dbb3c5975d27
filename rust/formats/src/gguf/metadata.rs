//! Typed key-values of a GGUF file.

use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::{FormatError, Strings};

/// Arrays inside arrays are legal; deeper than this nobody writes them.
const DEEPEST_ARRAY: usize = 4;
const LONGEST_KEY: u64 = 65_535;

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
    pub(crate) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Self, FormatError> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let offset = cursor.offset();
            let key = cursor.string(LONGEST_KEY, "metadata key")?;
            if key.is_empty() {
                return Err(FormatError::invalid("metadata key", offset, "empty"));
            }
            let what = format!("metadata '{}'", key.chars().take(80).collect::<String>());
            let kind = cursor.u32(&what)?;
            let value = read_value(cursor, kind, &what)?;
            if values.insert(key.to_owned(), value).is_some() {
                return Err(FormatError::invalid(what, offset, "the key stands twice"));
            }
        }
        Ok(Self { values })
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

fn read_value(cursor: &mut Cursor<'_>, kind: u32, what: &str) -> Result<Value, FormatError> {
    Ok(match kind {
        0..=5 | 10 | 11 => {
            let value = read_integer(cursor, kind, what)?;
            match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => Value::Unsigned(value),
                (_, Ok(value)) => Value::Signed(value),
                _ => {
                    return Err(FormatError::invalid(
                        what,
                        cursor.offset(),
                        "an integer beyond 64 bits",
                    ));
                }
            }
        }
        6 => Value::Float(f64::from(f32::from_le_bytes(cursor.array(what)?))),
        7 => Value::Bool(read_bool(cursor, what)?),
        8 => Value::String(cursor.string(u64::MAX, what)?.to_owned()),
        9 => read_array(cursor, what, 1)?,
        12 => Value::Float(f64::from_le_bytes(cursor.array(what)?)),
        other => return Err(unknown_kind(cursor, other, what)),
    })
}

fn unknown_kind(cursor: &Cursor<'_>, kind: u32, what: &str) -> FormatError {
    FormatError::invalid(
        what,
        cursor.offset(),
        format!("value type {kind}; 0 to 12 are known"),
    )
}

fn read_integer(cursor: &mut Cursor<'_>, kind: u32, what: &str) -> Result<i128, FormatError> {
    Ok(match kind {
        0 => u8::from_le_bytes(cursor.array(what)?).into(),
        1 => i8::from_le_bytes(cursor.array(what)?).into(),
        2 => u16::from_le_bytes(cursor.array(what)?).into(),
        3 => i16::from_le_bytes(cursor.array(what)?).into(),
        4 => u32::from_le_bytes(cursor.array(what)?).into(),
        5 => i32::from_le_bytes(cursor.array(what)?).into(),
        10 => u64::from_le_bytes(cursor.array(what)?).into(),
        _ => i64::from_le_bytes(cursor.array(what)?).into(),
    })
}

fn read_bool(cursor: &mut Cursor<'_>, what: &str) -> Result<bool, FormatError> {
    let offset = cursor.offset();
    match cursor.array::<1>(what)? {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(FormatError::invalid(
            what,
            offset,
            format!("{other} as a truth value; 0 and 1 are"),
        )),
    }
}

fn read_array(cursor: &mut Cursor<'_>, what: &str, depth: usize) -> Result<Value, FormatError> {
    if depth > DEEPEST_ARRAY {
        let problem = format!("arrays nested deeper than {DEEPEST_ARRAY}");
        return Err(FormatError::invalid(what, cursor.offset(), problem));
    }
    let kind = cursor.u32(what)?;
    let smallest = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        other => return Err(unknown_kind(cursor, other, what)),
    };
    let count = cursor.count(smallest, what)?;
    Ok(match kind {
        6 => Value::Floats(repeat(count, || {
            Ok(f32::from_le_bytes(cursor.array(what)?))
        })?),
        12 => Value::Floats(repeat(count, || {
            Ok(f64::from_le_bytes(cursor.array(what)?) as f32)
        })?),
        7 => Value::Bools(repeat(count, || read_bool(cursor, what))?),
        8 => {
            let mut strings = Strings::default();
            for _ in 0..count {
                strings.push(cursor.string(u64::MAX, what)?);
            }
            Value::Strings(strings)
        }
        9 => Value::Arrays(repeat(count, || read_array(cursor, what, depth + 1))?),
        _ => Value::Integers(repeat(count, || {
            let offset = cursor.offset();
            let value = read_integer(cursor, kind, what)?;
            i64::try_from(value)
                .map_err(|_| FormatError::invalid(what, offset, "an integer beyond 63 bits"))
        })?),
    })
}

/// The count was compared with the bytes left, but a value may be larger in memory than in the
/// file; so the vector grows as values are really read.
fn repeat<T>(
    count: usize,
    mut read: impl FnMut() -> Result<T, FormatError>,
) -> Result<Vec<T>, FormatError> {
    let mut values = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        values.push(read()?);
    }
    Ok(values)
}
