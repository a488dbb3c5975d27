//! `Tape`: what a model says of texts, kept and played again in its place.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use ruvllm_core::replay;

/// Logits by the texts that they follow upon.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Tape(pub(crate) Arc<Mutex<replay::Tape>>);

#[pymethods]
impl Tape {
    /// To be recorded on: of each row it keeps the likeliest `kept` tokens.
    #[new]
    fn new(kept: usize) -> Self {
        Self(Arc::new(Mutex::new(replay::Tape::new(kept))))
    }

    /// Says something of every text.
    #[staticmethod]
    fn invented(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(replay::Tape::invented(seed))))
    }

    fn __len__(&self) -> usize {
        let tape = self.0.lock();
        tape.unwrap_or_else(PoisonError::into_inner).len()
    }
}
