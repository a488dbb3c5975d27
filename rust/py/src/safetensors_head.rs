//! `safetensors_tensors`: what a safetensors file says of its tensors, checked against its bytes.

use pyo3::prelude::*;
use ruvllm_core::Error;
use ruvllm_formats::safetensors;

use crate::run::run;

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
