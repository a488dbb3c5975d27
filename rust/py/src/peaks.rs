//! `Peaks`: what this machine can do at most, measured.

use pyo3::prelude::*;
use ruvllm_kernels::{self as kernels, ThreadPool, thread_choice};

use crate::run::run;

/// The most that an instruction gives.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
#[derive(Clone)]
pub(crate) struct InstructionPeak {
    isas: Vec<&'static str>,
    instruction: &'static str,
    operands: &'static str,
    operations_per_second: f64,
}

/// The bounds of this machine.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct Peaks {
    threads: usize,
    memory_bytes_per_second: f64,
    instructions: Vec<InstructionPeak>,
}

/// Measures with so many threads; takes about a second.
#[pyfunction]
#[pyo3(signature = (threads=None, free_bytes=None))]
pub(crate) fn measure_peaks(
    py: Python<'_>,
    threads: Option<usize>,
    free_bytes: Option<u64>,
) -> PyResult<Peaks> {
    run(py, || {
        let pool = ThreadPool::new(thread_choice(threads).threads);
        Ok(Peaks::from(kernels::Peaks::measure(&pool, free_bytes)))
    })
}

impl From<kernels::Peaks> for Peaks {
    fn from(peaks: kernels::Peaks) -> Self {
        let instructions = peaks.instructions.iter().map(|peak| InstructionPeak {
            isas: peak.isas.to_vec(),
            instruction: peak.instruction,
            operands: peak.operands.name(),
            operations_per_second: peak.operations_per_second,
        });
        Self {
            threads: peaks.threads,
            memory_bytes_per_second: peaks.memory_bytes_per_second,
            instructions: instructions.collect(),
        }
    }
}
