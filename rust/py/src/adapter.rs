//! `Adapter`: low-rank matrices that fit a model, as it computes with them; `AdapterPool`: those that are ready.

use std::sync::Arc;

use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ruvllm_core::lora::{AdapterPoolStats, ReadyAdapter};
use ruvllm_core::model::{AdapterPart, Matrix, Module};
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

/// What a part is in this model, beside the arrays that hold it.
fn with_matrices<'a>(
    parts: &'a [PartSettings<'_>],
    arrays: &'a [(PyReadonlyArrayDyn<'_, f32>, PyReadonlyArrayDyn<'_, f32>)],
) -> Result<Vec<AdapterPart<'a>>> {
    let pairs = parts.iter().zip(arrays);
    pairs
        .map(|(part, (a, b))| {
            Ok(AdapterPart {
                layer: part.layer,
                module: choice("the module", &part.module, &Module::NAMES)?,
                a: matrix("A", a)?,
                b: matrix("B", b)?,
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
            .map(|part| Ok((contiguous("A", &part.a)?, contiguous("B", &part.b)?)))
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
        let stats = self.inner.stats();
        let AdapterPoolStats {
            ready,
            ready_bytes,
            pages,
            made,
            evicted,
        } = stats;
        (ready, ready_bytes, pages, made, evicted)
    }
}
