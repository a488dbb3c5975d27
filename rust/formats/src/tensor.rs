//! What a file says of a tensor, checked against the bytes that are there.

use std::ops::Range;

use crate::error::quoted;
use crate::{FormatError, TensorType};

/// A tensor inside a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub tensor_type: TensorType,
    /// Outermost first: `[rows, columns]`.
    pub shape: Vec<usize>,
    /// Which of the model's files.
    pub(crate) file: usize,
    /// Where its bytes begin in that file.
    pub(crate) offset: usize,
    /// How many bytes.
    pub(crate) length: usize,
}

impl TensorInfo {
    /// Elements in all.
    pub fn element_count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Where its bytes begin in its file.
    pub fn byte_offset(&self) -> usize {
        self.offset
    }

    /// Bytes in the file.
    pub fn byte_length(&self) -> usize {
        self.length
    }

    /// Where they stand in it.
    pub fn place(&self) -> Range<usize> {
        self.offset..self.offset + self.length
    }
}

/// Bytes of a shape; the innermost dimension must be whole blocks, and nothing may overflow.
pub(crate) fn shape_bytes(
    name: &str,
    tensor_type: TensorType,
    shape: &[usize],
) -> Result<usize, FormatError> {
    if let Some(index) = shape.iter().position(|dimension| *dimension == 0) {
        return Err(FormatError::tensor(
            name,
            format!("dimension {index} of shape {shape:?} is zero"),
        ));
    }
    let (elements, bytes) = (tensor_type.block_elements(), tensor_type.block_bytes());
    let columns = shape.last().copied().unwrap_or(1);
    if !columns.is_multiple_of(elements) {
        let problem = format!(
            "rows of {columns} values are not whole {} blocks of {elements}",
            tensor_type.name()
        );
        return Err(FormatError::tensor(name, problem));
    }
    let total = shape
        .iter()
        .try_fold(1usize, |total, dimension| total.checked_mul(*dimension));
    total
        .and_then(|total| (total / elements).checked_mul(bytes))
        .filter(|total| i64::try_from(*total).is_ok())
        .ok_or_else(|| {
            FormatError::tensor(
                name,
                format!("shape {shape:?} has more bytes than can be addressed"),
            )
        })
}

/// Refuses tensors that share bytes.
pub(crate) fn refuse_overlaps(tensors: &[TensorInfo]) -> Result<(), FormatError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|info| (info.file, info.offset));
    for pair in order.windows(2) {
        let [first, second] = pair else { continue };
        if first.file == second.file && first.offset + first.length > second.offset {
            let problem = format!(
                "its bytes overlap those of tensor '{}'",
                quoted(&first.name)
            );
            return Err(FormatError::tensor(&second.name, problem));
        }
    }
    Ok(())
}
