//! `PackedMatrix`: weights in the engine's own layout, and their product with rows.

use std::sync::LazyLock;

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model::{ActivationPrecision, Compute, Linear};
use ruvllm_core::quantize::block_type;
use ruvllm_kernels::{Kernels, ThreadPool, thread_choice};

use crate::arrays::{contiguous, flat};
use crate::model_header::precision;
use crate::run::run;
use crate::system::choose_kernels;

/// The threads of all stand-alone kernels, made when the first asks for them.
pub(crate) static POOL: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPool::new(thread_choice(None).threads));

/// What a stand-alone operation computes with.
pub(crate) fn compute(kernels: &dyn Kernels, precision: ActivationPrecision) -> Compute<'_> {
    Compute {
        kernels,
        pool: &POOL,
        precision,
        profile: None,
    }
}

/// A matrix `[rows, columns]`, packed for this machine.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct PackedMatrix(Linear);

impl PackedMatrix {
    fn matrix(&self) -> &ruvllm_kernels::PackedMatrix {
        &self.0.matrices()[0]
    }
}

#[pymethods]
impl PackedMatrix {
    /// Packs whole blocks of a tensor type.
    #[new]
    fn new(
        type_name: &str,
        data: &Bound<'_, PyAny>,
        rows: usize,
        columns: usize,
    ) -> PyResult<Self> {
        let view = contiguous::<u8>("data", data)?;
        let bytes = view.as_slice()?;
        run(data.py(), || {
            let block_type = block_type(type_name)?;
            Linear::pack(block_type, bytes, (rows, columns), &POOL).map(Self)
        })
    }

    #[getter]
    fn rows(&self) -> usize {
        self.matrix().rows()
    }

    #[getter]
    fn columns(&self) -> usize {
        self.matrix().columns()
    }

    #[getter]
    fn type_name(&self) -> &str {
        self.matrix().block_type().name()
    }

    #[getter]
    fn num_bytes(&self) -> usize {
        self.matrix().bytes()
    }

    /// Every row of `x` times the matrix.
    fn multiply<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        activations: &str,
        isa: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let view = contiguous::<f32>("x", x)?;
        let input = view.as_slice()?;
        let output = run(x.py(), || {
            let kernels = choose_kernels(isa)?;
            let precision = precision(activations)?;
            self.0.multiply(compute(&*kernels, precision), input)
        })?;
        Ok(flat(x.py(), output))
    }
}
