//! `json_shape`: what a piece of JSON holds, counted before it is parsed.

use pyo3::prelude::*;
use ruvllm_formats as formats;

use crate::run::run;

/// So many bytes are counted sooner than another thread would hand the interpreter back.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// How much of each kind stands in it.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct JsonShape {
    depth: usize,
    containers: usize,
    members: usize,
    texts: usize,
    numbers: usize,
    fractions: usize,
    longest_number: usize,
    surrogates: usize,
}

/// Counts what stands in `text`, whether it is JSON or not.
#[pyfunction]
pub(crate) fn json_shape(py: Python<'_>, text: &[u8]) -> PyResult<JsonShape> {
    let shape = if text.len() <= AT_ONCE_BYTES {
        formats::JsonShape::of(text)
    } else {
        run(py, || Ok(formats::JsonShape::of(text)))?
    };
    Ok(JsonShape {
        depth: shape.depth,
        containers: shape.containers,
        members: shape.members,
        texts: shape.texts,
        numbers: shape.numbers,
        fractions: shape.fractions,
        longest_number: shape.longest_number,
        surrogates: shape.surrogates,
    })
}
