//! `Profile`: where the time of steps went, and the clock that tells.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use ruvllm_core::clock::{Clock, Deadline};
use ruvllm_core::profile::{OperationTime, ProfileReport};

/// The system's clock, from when it was made.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn deadline(&self, time: Duration) -> Deadline<'_> {
        Deadline::after(self, time)
    }
}

impl Clock for SystemClock {
    fn nanoseconds(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What one operation took.
#[pyclass(frozen, get_all, module = "ruvllm._native", name = "OperationTime")]
#[derive(Clone)]
pub(crate) struct PyOperationTime {
    operation: &'static str,
    calls: u64,
    nanoseconds: u64,
    operations: Vec<(&'static str, u64)>,
    weight_bytes: u64,
}

/// Everything that was recorded.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct Profile {
    steps: u64,
    tokens: u64,
    times: Vec<PyOperationTime>,
}

impl From<ProfileReport> for Profile {
    fn from(report: ProfileReport) -> Self {
        Self {
            steps: report.steps,
            tokens: report.tokens,
            times: report.times.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<OperationTime> for PyOperationTime {
    fn from(time: OperationTime) -> Self {
        let operations = time.operations.iter();
        Self {
            operation: time.operation.name(),
            calls: time.calls,
            nanoseconds: time.nanoseconds,
            operations: operations
                .map(|(operands, count)| (operands.name(), *count))
                .collect(),
            weight_bytes: time.weight_bytes,
        }
    }
}
