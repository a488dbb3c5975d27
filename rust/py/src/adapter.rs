//! `Adapter`: low-rank matrices that fit a model, as it computes with them.

use std::sync::Arc;

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ruvllm_core::model::{AdapterPart, Matrix, Module};
use ruvllm_core::{Error, Result, lora};

use crate::arrays::contiguous;
use crate::convert::choice;
use crate::errors::exception;
use crate::model::Model;
use crate::run::run;

/// An adapter that never changes.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Adapter(Arc<lora::Adapter>);

/// What one adds to one linear map, in Python; any object with these attributes.
#[derive(FromPyObject)]
struct PartSettings<'py> {
    layer: usize,
    module: String,
    a: Bound<'py, PyAny>,
    b: Bound<'py, PyAny>,
    scale: f32,
    in_file_order: bool,
}

/// An adapter on a request, and how much of it.
#[derive(FromPyObject)]
pub(crate) struct AdapterUse<'py>(Bound<'py, Adapter>, f32);

impl From<AdapterUse<'_>> for lora::AdapterUse {
    fn from(AdapterUse(adapter, scale): AdapterUse<'_>) -> Self {
        Self {
            adapter: Arc::clone(&adapter.get().0),
            scale,
        }
    }
}

fn matrix<'a>(name: &str, array: &'a PyReadonlyArrayDyn<'_, f32>) -> Result<Matrix<'a>> {
    let wrong = || {
        Error::Adapter(format!(
            "{name} is of shape {:?}; it is no matrix",
            array.shape()
        ))
    };
    let [rows, columns] = *array.shape() else {
        return Err(wrong());
    };
    Ok(Matrix {
        values: array.as_slice().map_err(|_| wrong())?,
        rows,
        columns,
    })
}

#[pymethods]
impl Adapter {
    #[new]
    #[pyo3(signature = (model, parts, *, generation))]
    fn new(
        py: Python<'_>,
        model: &Model,
        parts: Vec<PartSettings<'_>>,
        generation: u64,
    ) -> PyResult<Self> {
        let arrays = parts
            .iter()
            .map(|part| Ok((contiguous("A", &part.a)?, contiguous("B", &part.b)?)))
            .collect::<PyResult<Vec<_>>>()?;
        let with_matrices = parts.iter().zip(&arrays).map(|(part, (a, b))| {
            Ok(AdapterPart {
                layer: part.layer,
                module: choice("the module", &part.module, &Module::NAMES)?,
                a: matrix("A", a)?,
                b: matrix("B", b)?,
                scale: part.scale,
                in_file_order: part.in_file_order,
            })
        });
        let parts: Vec<_> = with_matrices
            .collect::<Result<_>>()
            .map_err(|error| exception(&error))?;
        run(py, || {
            Ok(Self(Arc::new(model.model.adapter(&parts, generation)?)))
        })
    }

    /// Bytes of its matrices.
    #[getter]
    fn num_bytes(&self) -> usize {
        self.0.bytes()
    }
}
