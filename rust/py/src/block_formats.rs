//! Block formats over NumPy arrays: decoding, encoding, and which there are.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::quantize::{blocks_of_values, values_of_blocks};
use ruvllm_kernels::quant::BlockType;

use crate::arrays::{contiguous, flat};
use crate::run::run;

/// The float32 values of whole blocks.
#[pyfunction]
pub(crate) fn dequantize<'py>(
    type_name: &str,
    data: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let view = contiguous::<u8>("data", data)?;
    let bytes = view.as_slice()?;
    let values = run(data.py(), || values_of_blocks(type_name, bytes))?;
    Ok(flat(data.py(), values))
}

/// The blocks of float32 values.
#[pyfunction]
pub(crate) fn quantize<'py>(
    type_name: &str,
    values: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<u8>>> {
    let view = contiguous::<f32>("values", values)?;
    let numbers = view.as_slice()?;
    let bytes = run(values.py(), || blocks_of_values(type_name, numbers))?;
    Ok(flat(values.py(), bytes))
}

/// Name, elements a block, bytes a block, for each tensor type the engine reads.
#[pyfunction]
pub(crate) fn block_types() -> Vec<(&'static str, usize, usize)> {
    BlockType::ALL
        .iter()
        .map(|kind| (kind.name(), kind.block_elements(), kind.block_bytes()))
        .collect()
}
