//! `json_shape`: what a piece of JSON holds, counted before it is parsed.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use ruvllm_formats::JsonShape;

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
