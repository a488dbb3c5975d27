//! `Tape`: what a model says of texts, kept and played again in its place.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use ruvllm_core::replay;

/// Logits by the texts that they follow upon.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Tape(pub(crate) Arc<Mutex<replay::Tape>>);

#[pymethods]
impl Tape {
    /// Keeps the likeliest `kept` tokens of each row; with a seed it says something of every text.
    #[new]
    #[pyo3(signature = (kept=0, *, seed=None))]
    fn new(kept: usize, seed: Option<u64>) -> Self {
        let tape = seed.map_or_else(|| replay::Tape::new(kept), replay::Tape::invented);
        Self(Arc::new(Mutex::new(tape)))
    }

    fn __len__(&self) -> usize {
        let tape = self.0.lock();
        tape.unwrap_or_else(PoisonError::into_inner).len()
    }
}
