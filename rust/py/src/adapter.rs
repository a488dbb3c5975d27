//! `Adapter`: low-rank matrices that fit a model, as it computes with them; `AdapterPool`: those that are ready.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use numpy::{PyArrayDyn, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ruvllm_core::lora::{AdapterPoolStats, Matrix, ReadyAdapter, Values};
use ruvllm_core::model::{AdapterPart, Module};
use ruvllm_core::{Error, Result, lora};

use crate::arrays::contiguous;
use crate::convert::{self, choice};
use crate::engine_memory::EngineMemory;
use crate::errors::exception;
use crate::model::Model;
use crate::profile::SystemClock;
use crate::run::{lock, run};

/// An adapter that never changes, and stays ready as long as this.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Adapter(Arc<ReadyAdapter>);

impl From<ReadyAdapter> for Adapter {
    fn from(adapter: ReadyAdapter) -> Self {
        Self(Arc::new(adapter))
    }
}

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

/// A matrix in Python, in f32 or f16.
enum Numbers<'py> {
    Floats(PyReadonlyArrayDyn<'py, f32>),
    Halves(PyReadonlyArrayDyn<'py, f16>),
}

impl<'py> Numbers<'py> {
    fn of(name: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if array.cast::<PyArrayDyn<f16>>().is_ok() {
            return Ok(Self::Halves(contiguous(name, array)?));
        }
        Ok(Self::Floats(contiguous(name, array)?))
    }

    fn matrix(&self, name: &str) -> Result<Matrix<'_>> {
        let (shape, values) = match self {
            Self::Floats(array) => {
                let floats = array.as_slice().unwrap_or_default();
                (array.shape(), Values::Floats(floats))
            }
            Self::Halves(array) => {
                let halves = array.as_slice().unwrap_or_default();
                (array.shape(), Values::Halves(halves.reinterpret_cast()))
            }
        };
        let [rows, columns] = *shape else {
            return Err(Error::Adapter(format!(
                "{name} is of shape {shape:?}; it is no matrix"
            )));
        };
        Ok(Matrix {
            values,
            rows,
            columns,
        })
    }
}

/// What a part is in this model, beside the arrays that hold it.
fn with_matrices<'a>(
    parts: &'a [PartSettings<'_>],
    arrays: &'a [(Numbers<'_>, Numbers<'_>)],
) -> Result<Vec<AdapterPart<'a>>> {
    let pairs = parts.iter().zip(arrays);
    pairs
        .map(|(part, (a, b))| {
            Ok(AdapterPart {
                layer: part.layer,
                module: choice("the module", &part.module, &Module::NAMES)?,
                a: a.matrix("A")?,
                b: b.matrix("B")?,
                scale: part.scale,
                in_file_order: part.in_file_order,
            })
        })
        .collect()
}

#[pymethods]
impl Adapter {
    /// Bytes of its matrices.
    #[getter]
    fn num_bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Adapters that are ready, on pages of an engine's budget.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct AdapterPool {
    inner: Arc<lora::AdapterPool>,
    clock: SystemClock,
}

#[pymethods]
impl AdapterPool {
    #[new]
    #[pyo3(signature = (memory, *, max_bytes))]
    fn new(py: Python<'_>, memory: &EngineMemory, max_bytes: usize) -> PyResult<Self> {
        run(py, || {
            let pages = Arc::clone(lock(&memory.0)?.kv().pages());
            Ok(Self {
                inner: lora::AdapterPool::new(pages, max_bytes),
                clock: SystemClock::new(),
            })
        })
    }

    /// One that is ready.
    fn get(&self, generation: u64) -> Option<Adapter> {
        self.inner.get(generation).map(Adapter::from)
    }

    /// Makes one ready, waiting so long for room.
    #[pyo3(signature = (model, parts, *, generation, seconds))]
    fn put(
        &self,
        model: &Bound<'_, Model>,
        parts: Vec<PartSettings<'_>>,
        generation: u64,
        seconds: f64,
    ) -> PyResult<Adapter> {
        let arrays = parts
            .iter()
            .map(|part| Ok((Numbers::of("A", &part.a)?, Numbers::of("B", &part.b)?)))
            .collect::<PyResult<Vec<_>>>()?;
        let (py, model) = (model.py(), &model.get().model);
        let refused = |error| exception(&error);
        let parts = with_matrices(&parts, &arrays).map_err(refused)?;
        let seconds = convert::seconds("seconds", seconds).map_err(refused)?;
        run(py, || {
            let identity = (generation, model.adapter_bytes(&parts));
            let deadline = self.clock.deadline(seconds);
            let make = || model.adapter(&parts, generation);
            Ok(self.inner.put(identity, deadline, make)?.into())
        })
    }

    /// Takes one out that nobody will ask for again.
    fn forget(&self, generation: u64) {
        self.inner.forget(generation);
    }

    /// Those ready, their bytes and pages; how often one was made, and had to go.
    fn stats(&self) -> (usize, usize, usize, u64, u64) {
        let AdapterPoolStats {
            ready,
            ready_bytes,
            pages,
            made,
            evicted,
        } = self.inner.stats();
        (ready, ready_bytes, pages, made, evicted)
    }
}
