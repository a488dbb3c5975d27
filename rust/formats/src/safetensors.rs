//! safetensors: a length, a JSON header that describes the tensors, then their bytes.

use serde_json::Value;

use crate::cursor::Cursor;
use crate::json;
use crate::tensor::{refuse_overlaps, shape_bytes};
use crate::{FormatError, TensorInfo, TensorType};

/// The format's own limit on its header.
const LARGEST_HEADER: u64 = 100_000_000;
const MOST_DIMENSIONS: usize = 8;

/// Reads and checks the header; offsets come out relative to the file.
pub fn parse(bytes: &[u8]) -> Result<Vec<TensorInfo>, FormatError> {
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
    if header.first() != Some(&b'{') {
        return Err(FormatError::invalid(
            "safetensors header",
            8,
            "it does not begin with '{'",
        ));
    }
    let header = json::parse(header).map_err(|error| {
        FormatError::invalid("safetensors header", 8, format!("not valid JSON: {error}"))
    })?;
    let Value::Object(entries) = header else {
        return Err(FormatError::invalid(
            "safetensors header",
            8,
            "not a JSON object",
        ));
    };
    let data = cursor.offset();
    let left = cursor.left();
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries
        .iter()
        .filter(|(name, _)| name.as_str() != "__metadata__")
    {
        tensors.push(read_tensor(name, entry, data, left)?);
    }
    refuse_overlaps(&tensors)?;
    let described: usize = tensors.iter().map(|info| info.length).sum();
    if described != left {
        let problem =
            format!("the header describes {described} bytes of tensors, the file holds {left}");
        return Err(FormatError::invalid("safetensors data", data, problem));
    }
    Ok(tensors)
}

fn read_tensor(
    name: &str,
    entry: &Value,
    data: usize,
    left: usize,
) -> Result<TensorInfo, FormatError> {
    let dtype = entry.get("dtype").and_then(Value::as_str);
    let dtype =
        dtype.ok_or_else(|| FormatError::tensor(name, "its dtype is missing or no string"))?;
    let tensor_type = TensorType::from_safetensors(dtype).ok_or_else(|| {
        FormatError::tensor(name, format!("dtype '{}' is unknown", shorten(dtype)))
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
        name: name.to_owned(),
        tensor_type,
        shape,
        file: 0,
        offset: data + begin,
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

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
