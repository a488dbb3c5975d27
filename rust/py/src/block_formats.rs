//! Block formats over NumPy arrays: decoding, encoding, and which there are.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::{Error, Result};
use ruvllm_kernels::quant::{BlockType, QuantError, decode, encode};

use crate::arrays::{contiguous, flat};
use crate::convert::not_a_choice;
use crate::run::run;

/// The float32 values of whole blocks.
#[pyfunction]
pub(crate) fn dequantize<'py>(
    type_name: &str,
    data: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let view = contiguous::<u8>("data", data)?;
    let bytes = view.as_slice()?;
    let values = run(data.py(), || {
        let block_type = named(type_name)?;
        let blocks = bytes.len() / block_type.block_bytes();
        let mut values = vec![0.0; blocks * block_type.block_elements()];
        decode(block_type, bytes, &mut values).map_err(refused)?;
        let broken = values.iter().position(|value| !value.is_finite());
        match broken {
            Some(element) if block_type.is_quantized() => Err(Error::Config(format!(
                "block {} of the {type_name} data has a scale that is not finite",
                element / block_type.block_elements()
            ))),
            _ => Ok(values),
        }
    })?;
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
    let bytes = run(values.py(), || {
        let block_type = named(type_name)?;
        let blocks = numbers.len() / block_type.block_elements();
        let mut bytes = vec![0; blocks * block_type.block_bytes()];
        encode(block_type, numbers, &mut bytes).map_err(refused)?;
        Ok(bytes)
    })?;
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

pub(crate) fn named(type_name: &str) -> Result<BlockType> {
    BlockType::from_name(type_name).ok_or_else(|| {
        let known = BlockType::ALL.iter().map(|kind| kind.name());
        not_a_choice("type_name", type_name, known)
    })
}

fn refused(error: QuantError) -> Error {
    Error::Config(error.to_string())
}
