//! Reading key-values: every count is compared with the bytes and with the budget of memory before
//! anything is allocated for it, and what is allocated has exactly the size that was charged.

use std::collections::BTreeMap;

use super::metadata::{Metadata, Value};
use crate::budget::Budget;
use crate::cursor::Cursor;
use crate::error::quoted;
use crate::{FormatError, Strings};

/// Arrays inside arrays are legal; deeper than this nobody writes them.
const DEEPEST_ARRAY: usize = 4;
const LONGEST_KEY: u64 = 65_535;
/// What an allocator adds to an allocation, and a map to an entry, at most.
const OVERHEAD: usize = 32;

pub(super) fn read(
    cursor: &mut Cursor<'_>,
    count: usize,
    budget: &mut Budget,
) -> Result<Metadata, FormatError> {
    let mut reader = Reader { cursor, budget };
    let mut values = BTreeMap::new();
    for _ in 0..count {
        let offset = reader.cursor.offset();
        let key = reader.cursor.string(LONGEST_KEY, "metadata key")?;
        if key.is_empty() {
            return Err(FormatError::invalid("metadata key", offset, "empty"));
        }
        let what = format!("metadata '{}'", quoted(key));
        let entry = size_of::<(String, Value)>() + OVERHEAD;
        reader
            .budget
            .charge(1, key.len() + 2 * entry, &what, offset)?;
        let kind = reader.cursor.u32(&what)?;
        let value = reader.value(kind, &what)?;
        if values.insert(key.to_owned(), value).is_some() {
            return Err(FormatError::invalid(what, offset, "the key stands twice"));
        }
    }
    Ok(Metadata::new(values))
}

struct Reader<'a, 'bytes> {
    cursor: &'a mut Cursor<'bytes>,
    budget: &'a mut Budget,
}

impl<'bytes> Reader<'_, 'bytes> {
    fn value(&mut self, kind: u32, what: &str) -> Result<Value, FormatError> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(what)?).into()),
            1 => integer(i8::from_le_bytes(self.array(what)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(what)?).into()),
            3 => integer(i16::from_le_bytes(self.array(what)?).into()),
            4 => Value::Unsigned(u32::from_le_bytes(self.array(what)?).into()),
            5 => integer(i32::from_le_bytes(self.array(what)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(what)?).into()),
            7 => {
                let offset = self.cursor.offset();
                let [byte] = self.array(what)?;
                Value::Bool(truth(byte).ok_or_else(|| no_truth(byte, what, offset))?)
            }
            8 => {
                let offset = self.cursor.offset();
                let text = self.cursor.string(self.budget.left() as u64, what)?;
                self.budget.charge(1, text.len(), what, offset)?;
                Value::String(text.to_owned())
            }
            9 => self.list(what, 1)?,
            10 => Value::Unsigned(u64::from_le_bytes(self.array(what)?)),
            11 => integer(i64::from_le_bytes(self.array(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            other => return Err(self.unknown_kind(other, what)),
        })
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], FormatError> {
        self.cursor.array(what)
    }

    fn unknown_kind(&self, kind: u32, what: &str) -> FormatError {
        let problem = format!("value type {kind}; 0 to 12 are known");
        FormatError::invalid(what, self.cursor.offset(), problem)
    }

    fn list(&mut self, what: &str, depth: usize) -> Result<Value, FormatError> {
        if depth > DEEPEST_ARRAY {
            let problem = format!("arrays nested deeper than {DEEPEST_ARRAY}");
            return Err(FormatError::invalid(what, self.cursor.offset(), problem));
        }
        let kind = self.cursor.u32(what)?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            9 => 12,
            other => return Err(self.unknown_kind(other, what)),
        };
        let count = self.cursor.count(smallest, what)?;
        Ok(match kind {
            0 => self.integers(count, what, |bytes| Some(u8::from_le_bytes(bytes).into()))?,
            1 => self.integers(count, what, |bytes| Some(i8::from_le_bytes(bytes).into()))?,
            2 => self.integers(count, what, |bytes| Some(u16::from_le_bytes(bytes).into()))?,
            3 => self.integers(count, what, |bytes| Some(i16::from_le_bytes(bytes).into()))?,
            4 => self.integers(count, what, |bytes| Some(u32::from_le_bytes(bytes).into()))?,
            5 => self.integers(count, what, |bytes| Some(i32::from_le_bytes(bytes).into()))?,
            10 => self.integers(count, what, |bytes| {
                u64::from_le_bytes(bytes).try_into().ok()
            })?,
            11 => self.integers(count, what, |bytes| Some(i64::from_le_bytes(bytes)))?,
            6 => Value::Floats(self.items(count, what, |bytes| Ok(f32::from_le_bytes(bytes)))?),
            12 => {
                let narrow = |bytes| Ok(f64::from_le_bytes(bytes) as f32);
                Value::Floats(self.items(count, what, narrow)?)
            }
            7 => {
                let offset = self.cursor.offset();
                let check =
                    |[byte]: [u8; 1]| truth(byte).ok_or_else(|| no_truth(byte, what, offset));
                Value::Bools(self.items(count, what, check)?)
            }
            8 => Value::Strings(self.strings(count, what)?),
            _ => {
                self.charge::<Value>(count, what)?;
                let mut values = Vec::with_capacity(count);
                for _ in 0..count {
                    values.push(self.list(what, depth + 1)?);
                }
                Value::Arrays(values)
            }
        })
    }

    fn charge<T>(&mut self, count: usize, what: &str) -> Result<(), FormatError> {
        let offset = self.cursor.offset();
        self.budget.charge(1, OVERHEAD, what, offset)?;
        self.budget.charge(count, size_of::<T>(), what, offset)
    }

    fn integers<const N: usize>(
        &mut self,
        count: usize,
        what: &str,
        widen: impl Fn([u8; N]) -> Option<i64>,
    ) -> Result<Value, FormatError> {
        let offset = self.cursor.offset();
        let items = self.items(count, what, |bytes| {
            let too_large = || FormatError::invalid(what, offset, "an integer beyond 63 bits");
            widen(bytes).ok_or_else(too_large)
        });
        items.map(Value::Integers)
    }

    fn items<const N: usize, T>(
        &mut self,
        count: usize,
        what: &str,
        convert: impl Fn([u8; N]) -> Result<T, FormatError>,
    ) -> Result<Vec<T>, FormatError> {
        self.charge::<T>(count, what)?;
        let bytes = self.cursor.take(count as u64 * N as u64, what)?;
        let mut values = Vec::with_capacity(count);
        for item in bytes.as_chunks::<N>().0 {
            values.push(convert(*item)?);
        }
        Ok(values)
    }

    fn strings(&mut self, count: usize, what: &str) -> Result<Strings, FormatError> {
        self.charge::<usize>(count, what)?;
        let bytes = self.text_bytes(count, what)?;
        self.charge::<u8>(bytes, what)?;
        let mut strings = Strings::with_capacity(count, bytes);
        for _ in 0..count {
            strings.push(self.cursor.string(u64::MAX, what)?);
        }
        Ok(strings)
    }

    /// Bytes of the next strings together, all of which are there.
    fn text_bytes(&self, count: usize, what: &str) -> Result<usize, FormatError> {
        let mut ahead: Cursor<'bytes> = self.cursor.clone();
        let mut bytes = 0;
        for _ in 0..count {
            let length = ahead.u64(what)?;
            bytes += ahead.take(length, what)?.len();
        }
        Ok(bytes)
    }
}

/// Integers that are not negative are the same value, whatever their type.
fn integer(value: i64) -> Value {
    u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned)
}

fn truth(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn no_truth(byte: u8, what: &str, offset: usize) -> FormatError {
    let problem = format!("{byte} as a truth value; 0 and 1 are allowed");
    FormatError::invalid(what, offset, problem)
}
