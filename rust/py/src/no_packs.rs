//! A build without kernel packs: what a model could be loaded with, of which there is none.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_kernels::Kernels;

/// Python never sees this type, and nothing makes a value of it.
#[pyclass(frozen)]
pub(crate) struct KernelPacks(pub(crate) Never);

pub(crate) enum Never {}

impl Never {
    pub(crate) fn kernels(&self) -> Arc<dyn Kernels> {
        match *self {}
    }
}
