//! NumPy arrays in, as borrowed views that are checked and never kept; and out, without a copy.

use numpy::{
    BorrowError, Element, IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn,
    PyReadwriteArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use ruvllm_core::Error;

use crate::errors::exception;

/// A view of an array whose numbers stand side by side; `name` is what a message calls it.
pub(crate) fn contiguous<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let typed = side_by_side::<T>(name, array)?.try_readonly();
    typed.map_err(|_| refuse::<T>(name, array.py(), "being written to"))
}

/// The same, to write to.
pub(crate) fn contiguous_mut<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
) -> PyResult<PyReadwriteArrayDyn<'py, T>> {
    let typed = side_by_side::<T>(name, array)?.try_readwrite();
    typed.map_err(|error| {
        let found = match error {
            BorrowError::NotWriteable => "read-only",
            _ => "in use, for this call or another",
        };
        refuse::<T>(name, array.py(), found)
    })
}

fn side_by_side<'a, 'py, T: Element>(
    name: &str,
    array: &'a Bound<'py, PyAny>,
) -> PyResult<&'a Bound<'py, PyArrayDyn<T>>> {
    let Ok(typed) = array.cast::<PyArrayDyn<T>>() else {
        let kind = array
            .getattr("dtype")
            .or_else(|_| array.get_type().name().map(Bound::into_any))?;
        return Err(refuse::<T>(name, array.py(), &format!("of type {kind}")));
    };
    if !typed.is_c_contiguous() {
        let found = format!("strided, of shape {:?}", typed.shape());
        return Err(refuse::<T>(name, array.py(), &found));
    }
    Ok(typed)
}

fn refuse<T: Element>(name: &str, py: Python<'_>, found: &str) -> PyErr {
    let wanted = numpy::dtype::<T>(py);
    exception(&Error::Config(format!(
        "{name} is {found}; it must be a contiguous NumPy array of {wanted}"
    )))
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
