//! What bytes from outside hold, looked at before they are believed: a piece of JSON, a safetensors file.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use ruvllm_core::Error;
use ruvllm_formats::{JsonShape, safetensors};

use crate::run::run;

/// So many bytes are counted sooner than another thread would hand the interpreter back.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// Counts what stands in `text`, whether it is JSON or not.
#[pyfunction]
pub(crate) fn json_shape(py: Python<'_>, text: &[u8]) -> PyResult<BTreeMap<&'static str, usize>> {
    let count = || JsonShape::of(text).by_name();
    if text.len() <= AT_ONCE_BYTES {
        return Ok(count().into());
    }
    run(py, || Ok(count().into()))
}

/// Name, type and shape, where the bytes begin and end, and whether all of it are numbers.
type Tensor = (String, &'static str, Vec<usize>, usize, usize, bool);

/// Those of a whole file.
#[pyfunction]
pub(crate) fn safetensors_tensors(py: Python<'_>, file: &[u8]) -> PyResult<Vec<Tensor>> {
    run(py, || {
        let tensors = safetensors::parse(file).map_err(|error| Error::Model(error.to_string()))?;
        let tensors = tensors.into_iter().map(|info| {
            let (kind, place) = (info.tensor_type, info.place());
            let is_finite = kind.is_finite(&file[place.clone()]);
            let (begin, end) = (place.start, place.end);
            (info.name, kind.name(), info.shape, begin, end, is_finite)
        });
        Ok(tensors.collect())
    })
}
