//! GGUF, versions 2 and 3: header, key-values, tensor descriptions, then the tensors' bytes.

mod entries;
mod metadata;
mod values;
mod writer;

pub use entries::{Entry, entries};
pub use metadata::{Metadata, Value};
pub use writer::{GgufWriter, PlannedTensor};

use std::collections::HashSet;

use crate::budget::Budget;
use crate::cursor::Cursor;
use crate::tensor::{refuse_overlaps, shape_bytes};
use crate::{FormatError, TensorInfo, TensorType};

const MAGIC: [u8; 4] = *b"GGUF";
const LONGEST_NAME: u64 = 1024;
const MOST_DIMENSIONS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;

/// What a GGUF file says, all of it checked.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// 2 or 3.
    pub version: u32,
    /// Its key-values.
    pub metadata: Metadata,
    /// Its tensors, in the order of the file.
    pub tensors: Vec<TensorInfo>,
}

/// Memory that a model's descriptions may take.
#[derive(Debug, Clone)]
pub(crate) struct Budgets {
    pub(crate) metadata: Budget,
    pub(crate) tensors: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            metadata: Budget::metadata(),
            tensors: Budget::tensors(),
        }
    }
}

/// Reads and checks everything but the tensors' bytes.
pub fn parse(bytes: &[u8]) -> Result<GgufHeader, FormatError> {
    parse_within(bytes, &mut Budgets::default())
}

/// The same, with the memory that a model's other files leave.
pub(crate) fn parse_within(bytes: &[u8], budgets: &mut Budgets) -> Result<GgufHeader, FormatError> {
    let mut cursor = Cursor::new(bytes);
    let head = read_head(&mut cursor)?;
    let metadata = values::read(&mut cursor, head.values, &mut budgets.metadata)?;
    let alignment = alignment(&metadata)?;
    let mut tensors = read_tensors(&mut cursor, head.tensors, alignment, &mut budgets.tensors)?;
    let data = (cursor.offset() as u64).checked_next_multiple_of(alignment);
    place(&mut tensors, data.unwrap_or(u64::MAX), bytes.len())?;
    refuse_overlaps(&tensors)?;
    Ok(GgufHeader {
        version: head.version,
        metadata,
        tensors,
    })
}

/// What a file begins with.
struct Head {
    version: u32,
    tensors: usize,
    values: usize,
}

fn read_head(cursor: &mut Cursor<'_>) -> Result<Head, FormatError> {
    let magic = cursor.array::<4>("GGUF magic")?;
    if magic != MAGIC {
        return Err(FormatError::invalid(
            "GGUF magic",
            0,
            format!("{magic:?}; a GGUF file begins with 'GGUF'"),
        ));
    }
    let version = cursor.u32("GGUF version")?;
    if !(2..=3).contains(&version) {
        let hint = if version.swap_bytes() < 1 << 16 {
            " (a big-endian file?)"
        } else {
            ""
        };
        return Err(FormatError::invalid(
            "GGUF version",
            4,
            format!("{version}{hint}; versions 2 and 3 are read"),
        ));
    }
    // Name length, dimensions count, one dimension, type, offset; key length, type, one byte.
    let tensors = cursor.count(8 + 4 + 8 + 4 + 8, "tensor count")?;
    let values = cursor.count(8 + 4 + 1, "metadata count")?;
    Ok(Head {
        version,
        tensors,
        values,
    })
}

fn read_tensors(
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: u64,
    budget: &mut Budget,
) -> Result<Vec<TensorInfo>, FormatError> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let (name, info) = read_tensor(cursor, alignment, budget)?;
        if !names.insert(name) {
            return Err(FormatError::tensor(name, "the name stands twice"));
        }
        tensors.push(info);
    }
    Ok(tensors)
}

fn alignment(metadata: &Metadata) -> Result<u64, FormatError> {
    let alignment = match metadata.get("general.alignment") {
        None => return Ok(DEFAULT_ALIGNMENT),
        Some(Value::Unsigned(value)) => *value,
        Some(_) => 0,
    };
    if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
        let problem = format!("{alignment}; a power of two up to {LARGEST_ALIGNMENT} is allowed");
        return Err(FormatError::invalid("general.alignment", 0, problem));
    }
    Ok(alignment)
}

/// One description; `offset` is still relative to the data section.
fn read_tensor<'bytes>(
    cursor: &mut Cursor<'bytes>,
    alignment: u64,
    budget: &mut Budget,
) -> Result<(&'bytes str, TensorInfo), FormatError> {
    let offset = cursor.offset();
    let name = cursor.string(LONGEST_NAME, "tensor name")?;
    if name.is_empty() {
        return Err(FormatError::invalid("tensor name", offset, "empty"));
    }
    let dimensions = cursor.u32("number of dimensions")?;
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        let problem = format!("{dimensions} dimensions; 1 to {MOST_DIMENSIONS} are allowed");
        return Err(FormatError::tensor(name, problem));
    }
    budget.charge_tensor(name, dimensions as usize, offset)?;
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        let dimension = cursor.u64("dimension")?;
        let dimension = usize::try_from(dimension).map_err(|_| {
            FormatError::tensor(
                name,
                format!("dimension {dimension} is beyond this machine"),
            )
        })?;
        shape.push(dimension);
    }
    // GGUF has the innermost dimension first.
    shape.reverse();
    let number = cursor.u32("tensor type")?;
    let tensor_type = TensorType::from_number(number)
        .filter(|_| TensorType::is_gguf(number))
        .ok_or_else(|| FormatError::tensor(name, format!("tensor type {number} is unknown")))?;
    let relative = cursor.u64("tensor offset")?;
    if !relative.is_multiple_of(alignment) {
        let problem = format!("offset {relative} is not a multiple of the alignment {alignment}");
        return Err(FormatError::tensor(name, problem));
    }
    let length = shape_bytes(name, tensor_type, &shape)?;
    let offset = usize::try_from(relative).map_err(|_| {
        FormatError::tensor(name, format!("offset {relative} is beyond this machine"))
    })?;
    let info = TensorInfo {
        name: name.to_owned(),
        tensor_type,
        shape,
        file: 0,
        offset,
        length,
    };
    Ok((name, info))
}

/// Turns relative offsets into offsets of the file, inside of it.
fn place(tensors: &mut [TensorInfo], data: u64, file_length: usize) -> Result<(), FormatError> {
    for info in tensors {
        let begin = data
            .checked_add(info.offset as u64)
            .and_then(|begin| usize::try_from(begin).ok());
        let end = begin.and_then(|begin| begin.checked_add(info.length));
        match (begin, end) {
            (Some(begin), Some(end)) if end <= file_length => info.offset = begin,
            _ => {
                let problem = format!(
                    "{} bytes at offset {} of the data section (byte {data}) lie outside the file of {file_length} bytes",
                    info.length, info.offset
                );
                return Err(FormatError::tensor(&info.name, problem));
            }
        }
    }
    Ok(())
}
