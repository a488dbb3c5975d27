//! `ModelHeader`: what the head of a model's files says, and the base of the `Model` that they become.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_core::model::{self, ActivationPrecision};

use crate::convert::choice;
use crate::engine_memory::{KvNames, kv_wanted};
use crate::run::run;

/// A model before its weights, and in which precision it is to compute.
#[pyclass(frozen, subclass, module = "ruvllm._native")]
pub(crate) struct ModelHeader {
    pub(crate) header: Arc<model::ModelHeader>,
    pub(crate) precision: ActivationPrecision,
}

/// A format of the key-value cache, bytes of a block in it, and of how many tokens each group of layers has some.
type KvShape = (&'static str, usize, Vec<Option<usize>>);

/// The precision of that name.
pub(crate) fn precision(name: &str) -> ruvllm_core::Result<ActivationPrecision> {
    const NAMED: [(&str, ActivationPrecision); 2] = [
        ("auto", ActivationPrecision::Auto),
        ("f32", ActivationPrecision::Float),
    ];
    choice("activations", name, &NAMED)
}

#[pymethods]
impl ModelHeader {
    /// Checks files as loading does, and reads no weight.
    #[staticmethod]
    fn read(py: Python<'_>, path: PathBuf, activations: &str) -> PyResult<Self> {
        run(py, || {
            Ok(Self {
                header: Arc::new(model::ModelHeader::of(&model::open(&path)?)?),
                precision: precision(activations)?,
            })
        })
    }

    #[getter]
    fn architecture(&self) -> &str {
        &self.header.spec.architecture
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.header.spec.name.as_deref()
    }

    #[getter]
    fn quantization(&self) -> &str {
        self.header.quantization
    }

    /// Weights in all, and bytes of the files.
    #[getter]
    fn sizes(&self) -> (u64, u64) {
        (self.header.num_parameters, self.header.file_bytes)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.header.spec.vocab_size
    }

    #[getter]
    fn hidden_size(&self) -> usize {
        self.header.spec.hidden_size
    }

    #[getter]
    fn num_layers(&self) -> usize {
        self.header.spec.layers.len()
    }

    /// Heads of queries, heads of keys and values, and how wide each is.
    #[getter]
    fn heads(&self) -> [usize; 3] {
        let spec = &self.header.spec;
        [spec.num_heads, spec.num_kv_heads, spec.head_dim]
    }

    #[getter]
    fn max_context(&self) -> usize {
        self.header.spec.max_context
    }

    /// Name, type and shape of each tensor, outermost dimension first.
    fn tensors(&self) -> Vec<(String, &'static str, Vec<usize>)> {
        self.header.tensors.clone()
    }

    /// How the key-value cache is made in a format, or in the one that goes with the model, with a tail.
    fn kv_shape(&self, py: Python<'_>, formats: KvNames) -> PyResult<KvShape> {
        run(py, || {
            let groups = self
                .header
                .kv_groups(kv_wanted(&formats)?, self.precision)?;
            let format = groups.scheme().store.name();
            Ok((format, groups.block_bytes(), groups.held_windows()))
        })
    }
}
