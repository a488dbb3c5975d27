//! safetensors: a length, a JSON header that describes the tensors, then their bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::budget::Budget;
use crate::cursor::Cursor;
use crate::error::{quoted, reader_words};
use crate::json::{Limits, SkippedText, Strict, Text};
use crate::tensor::{refuse_overlaps, shape_bytes};
use crate::{FormatError, TensorInfo, TensorType};

/// The format allows 100 MB; headers of models with a hundred thousand tensors in one file are a
/// third of this.
const LARGEST_HEADER: u64 = 32 << 20;
const LONGEST_NAME: usize = 1024;
const MOST_DIMENSIONS: usize = 8;
/// Values of a tensor's entry: itself, its three members, dimensions, two offsets, and some more so
/// that what is wrong can be said.
const MOST_ENTRY_VALUES: usize = 64;
const LONGEST_ENTRY_TEXT: usize = 256;

/// Reads and checks the header; the tensors come sorted by name.
pub fn parse(bytes: &[u8]) -> Result<Vec<TensorInfo>, FormatError> {
    parse_within(bytes, &mut Budget::tensors())
}

/// The same, with the memory that a model's other files leave.
pub(crate) fn parse_within(
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<Vec<TensorInfo>, FormatError> {
    let mut cursor = Cursor::new(bytes);
    let length = cursor.u64("safetensors header length")?;
    if length > LARGEST_HEADER {
        let problem = format!("{length} bytes; at most {LARGEST_HEADER} are allowed");
        return Err(FormatError::invalid(
            "safetensors header length",
            0,
            problem,
        ));
    }
    let header = cursor.take(length, "safetensors header")?;
    let invalid = |problem: String| FormatError::invalid("safetensors header", 8, problem);
    if header.first() != Some(&b'{') {
        return Err(invalid("it does not begin with '{'".to_owned()));
    }
    let header =
        std::str::from_utf8(header).map_err(|error| invalid(format!("not UTF-8: {error}")))?;
    let (data, left) = (cursor.offset(), cursor.left());
    let mut tensors = read_header(header, data, left, budget)?;
    tensors.sort_unstable_by(|first, second| first.name.cmp(&second.name));
    for pair in tensors.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(FormatError::tensor(&pair[0].name, "the name stands twice"));
        }
    }
    refuse_overlaps(&tensors)?;
    // They do not overlap and lie inside, so the sum cannot overflow.
    let described: usize = tensors.iter().map(|info| info.length).sum();
    if described != left {
        let problem =
            format!("the header describes {described} bytes of tensors, the file holds {left}");
        return Err(FormatError::invalid("safetensors data", data, problem));
    }
    Ok(tensors)
}

fn read_header(
    header: &str,
    data: usize,
    left: usize,
    budget: &mut Budget,
) -> Result<Vec<TensorInfo>, FormatError> {
    let mut reader = Header {
        data,
        left,
        budget,
        tensors: Vec::new(),
        refusal: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(header);
    let read = deserializer
        .deserialize_map(&mut reader)
        .and_then(|()| deserializer.end());
    match (reader.refusal, read) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(())) => Ok(reader.tensors),
        (None, Err(error)) => Err(FormatError::invalid(
            "safetensors header",
            8,
            format!("not valid JSON: {}", reader_words(&error)),
        )),
    }
}

/// Reads entry by entry: a tree of the whole header would take many times its bytes.
struct Header<'a> {
    data: usize,
    left: usize,
    budget: &'a mut Budget,
    tensors: Vec<TensorInfo>,
    /// What is wrong with a tensor, in this crate's words.
    refusal: Option<FormatError>,
}

impl<'de> Visitor<'de> for &mut Header<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut seen_metadata = false;
        let longest = LONGEST_NAME;
        while let Some(name) = entries.next_key_seed(Text { longest })? {
            if name == "__metadata__" {
                if seen_metadata {
                    return Err(A::Error::custom("the key '__metadata__' stands twice"));
                }
                seen_metadata = true;
                entries.next_value_seed(FreeText)?;
                continue;
            }
            let limits = Limits::new(MOST_ENTRY_VALUES, LONGEST_ENTRY_TEXT);
            let entry = entries.next_value_seed(Strict(&limits))?;
            let info = read_tensor(name, &entry, (self.data, self.left)).and_then(|info| {
                let dimensions = info.shape.len();
                self.budget.charge_tensor(&info.name, dimensions, 8)?;
                Ok(info)
            });
            match info {
                Ok(info) => self.tensors.push(info),
                Err(refusal) => {
                    self.refusal = Some(refusal);
                    return Err(A::Error::custom("a tensor is refused"));
                }
            }
        }
        Ok(())
    }
}

/// `__metadata__`: strings by name, of which none is kept.
struct FreeText;

impl<'de> DeserializeSeed<'de> for FreeText {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FreeText {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings as '__metadata__'")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(()) = entries.next_key_seed(SkippedText)? {
            entries.next_value_seed(SkippedText)?;
        }
        Ok(())
    }
}

fn read_tensor(
    name: String,
    entry: &Value,
    (data, left): (usize, usize),
) -> Result<TensorInfo, FormatError> {
    if name.is_empty() {
        return Err(FormatError::invalid("tensor name", 8, "empty"));
    }
    let info = describe(&name, entry, left)?;
    Ok(TensorInfo {
        offset: data + info.offset,
        name,
        ..info
    })
}

/// The entry without its name, its offset relative to the data.
fn describe(name: &str, entry: &Value, left: usize) -> Result<TensorInfo, FormatError> {
    let dtype = entry.get("dtype").and_then(Value::as_str);
    let dtype =
        dtype.ok_or_else(|| FormatError::tensor(name, "its dtype is missing or no string"))?;
    let tensor_type = TensorType::from_safetensors(dtype).ok_or_else(|| {
        FormatError::tensor(name, format!("dtype '{}' is unknown", quoted(dtype)))
    })?;
    let shape = integers(name, entry, "shape")?;
    if shape.len() > MOST_DIMENSIONS {
        let problem = format!(
            "{} dimensions; at most {MOST_DIMENSIONS} are allowed",
            shape.len()
        );
        return Err(FormatError::tensor(name, problem));
    }
    let length = shape_bytes(name, tensor_type, &shape)?;
    let offsets = integers(name, entry, "data_offsets")?;
    let [begin, end] = offsets[..] else {
        return Err(FormatError::tensor(
            name,
            format!("data_offsets has {} numbers, not 2", offsets.len()),
        ));
    };
    if begin > end || end > left {
        let problem = format!(
            "data_offsets [{begin}, {end}] lie outside the {left} bytes of the file's data"
        );
        return Err(FormatError::tensor(name, problem));
    }
    if end - begin != length {
        let problem = format!(
            "shape {shape:?} of {dtype} needs {length} bytes, data_offsets give {}",
            end - begin
        );
        return Err(FormatError::tensor(name, problem));
    }
    Ok(TensorInfo {
        name: String::new(),
        tensor_type,
        shape,
        file: 0,
        offset: begin,
        length,
    })
}

fn integers(name: &str, entry: &Value, key: &str) -> Result<Vec<usize>, FormatError> {
    let values = entry.get(key).and_then(Value::as_array);
    let values = values
        .ok_or_else(|| FormatError::tensor(name, format!("its {key} is missing or no list")))?;
    let integer = |value: &Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
    values
        .iter()
        .map(|value| {
            integer(value).ok_or_else(|| {
                FormatError::tensor(name, format!("its {key} holds {value}, which is no size"))
            })
        })
        .collect()
}
