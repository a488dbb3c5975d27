//! Functions of Python's that have a say in what comes next.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sequence::LogitsProcessor;
use ruvllm_core::{Error, Result};

use crate::arrays::contiguous;

/// A function of the tokens so far and of an array of logits that is its own, and gives the logits that hold.
#[derive(Debug)]
pub(crate) struct PythonProcessor(pub(crate) Py<PyAny>);

impl LogitsProcessor for PythonProcessor {
    fn process(&self, text: &[TokenId], logits: &mut [f32]) -> Result<()> {
        let changed = Python::attach(|py| {
            let given = (
                PyArray1::from_slice(py, text),
                PyArray1::from_slice(py, logits),
            );
            let changed = self.0.bind(py).call1(given)?;
            Ok(contiguous::<f32>("logits", &changed)?.as_slice()?.to_vec())
        });
        let wrong = |error: PyErr| Error::Generation(format!("a logits processor: {error}"));
        let changed = changed.map_err(wrong)?;
        if changed.len() != logits.len() {
            let lengths = (changed.len(), logits.len());
            return Err(Error::Generation(format!(
                "a logits processor gave as many logits as the first of {lengths:?}"
            )));
        }
        logits.copy_from_slice(&changed);
        Ok(())
    }
}
