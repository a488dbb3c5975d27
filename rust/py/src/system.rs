//! `System`: what this machine offers, and the choice of instruction set for all; and this process's memory.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_core::Result;
use ruvllm_kernels::{Kernels, ThreadChoice, available, best, cpu_features, named, thread_choice};

use crate::convert::not_a_choice;
use crate::run::run;

/// The arithmetic of that name, or the best of this machine.
pub(crate) fn choose_kernels(isa: Option<&str>) -> Result<Arc<dyn Kernels>> {
    match isa {
        None => Ok(best()),
        Some(name) => named(name).map_err(|known| not_a_choice("isa", name, known.into_iter())),
    }
}

/// What this machine offers and what the engine chose.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct System {
    isa: &'static str,
    isa_reason: &'static str,
    available_isas: Vec<&'static str>,
    cpu_features: Vec<&'static str>,
    threads: usize,
    threads_reason: String,
    debug_assertions: bool,
}

#[pymethods]
impl System {
    #[staticmethod]
    #[pyo3(signature = (isa=None, threads=None))]
    fn detect(py: Python<'_>, isa: Option<&str>, threads: Option<usize>) -> PyResult<Self> {
        run(py, || {
            let isa_reason = isa.map_or("the best of this processor", |_| "as requested");
            let ThreadChoice { threads, reason } = thread_choice(threads);
            Ok(Self {
                isa: choose_kernels(isa)?.name(),
                isa_reason,
                available_isas: available().iter().map(|kernels| kernels.name()).collect(),
                cpu_features: cpu_features(),
                threads,
                threads_reason: reason,
                debug_assertions: cfg!(debug_assertions),
            })
        })
    }
}

/// Resident bytes now and at their highest (0 where the system does not tell).
#[pyfunction]
pub(crate) fn process_memory() -> (u64, u64) {
    ruvllm_kernels::process_memory()
}
