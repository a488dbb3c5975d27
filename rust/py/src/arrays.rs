//! NumPy arrays in, as borrowed views that are checked and never kept; and out, without a copy.

use numpy::{
    Element, IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use ruvllm_core::Error;

use crate::errors::exception;

/// A view of an array whose numbers stand side by side; `name` is what a message calls it.
pub(crate) fn contiguous<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let refuse = |found: String| {
        let wanted = numpy::dtype::<T>(array.py());
        exception(&Error::Config(format!(
            "{name} is {found}; it must be a contiguous NumPy array of {wanted}"
        )))
    };
    let Ok(typed) = array.cast::<PyArrayDyn<T>>() else {
        let kind = array
            .getattr("dtype")
            .or_else(|_| array.get_type().name().map(Bound::into_any))?;
        return Err(refuse(format!("of type {kind}")));
    };
    if !typed.is_c_contiguous() {
        return Err(refuse(format!("strided, of shape {:?}", typed.shape())));
    }
    typed
        .try_readonly()
        .map_err(|error| refuse(error.to_string()))
}

/// A flat array that takes the numbers over.
pub(crate) fn flat<T: Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyArray1<T>> {
    values.into_pyarray(py)
}

/// An array of as many rows as there are of that many columns; flat without `columns`.
pub(crate) fn rows(
    py: Python<'_>,
    values: Vec<f32>,
    columns: Option<usize>,
) -> PyResult<Py<PyAny>> {
    let count = values.len();
    let flat = flat(py, values);
    Ok(match columns {
        Some(columns) => flat.reshape([count / columns.max(1), columns])?.into_any(),
        None => flat.into_any(),
    }
    .unbind())
}
