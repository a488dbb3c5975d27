//! `KvBlocks`: keys and values in the engine's blocks, and attention over them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model::{ActivationPrecision, LayerBlocks};
use ruvllm_kernels::{AttentionShape, BLOCK_TOKENS, KvFormat};

use crate::arrays::{contiguous, flat};
use crate::convert::choice;
use crate::packed_matrix::compute;
use crate::run::run;
use crate::system::choose_kernels;

/// Blocks of one layer.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct KvBlocks {
    #[pyo3(get)]
    num_blocks: usize,
    #[pyo3(get)]
    block_bytes: usize,
    blocks: Mutex<LayerBlocks>,
}

/// Heads, scale, soft cap and window of the queries.
type Shape = (usize, f32, Option<f32>, Option<usize>);

#[pymethods]
impl KvBlocks {
    #[new]
    fn new(
        py: Python<'_>,
        blocks: usize,
        kv_heads: usize,
        head_dim: usize,
        kv_format: &str,
    ) -> PyResult<Self> {
        run(py, || {
            let format = choice("kv_format", kv_format, &KvFormat::NAMED)?;
            let blocks = LayerBlocks::new(blocks, (kv_heads, head_dim), format)?;
            Ok(Self {
                num_blocks: blocks.num_blocks(),
                block_bytes: blocks.block_bytes(),
                blocks: Mutex::new(blocks),
            })
        })
    }

    /// Tokens of a block.
    #[classattr]
    const BLOCK_TOKENS: usize = BLOCK_TOKENS;

    /// Writes rows of keys and values, `[kv_heads, head_dim]` each, from a position on.
    fn store(
        &self,
        block_table: Vec<u32>,
        position: usize,
        keys: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let views = (
            contiguous::<f32>("keys", keys)?,
            contiguous::<f32>("values", values)?,
        );
        let (key_rows, value_rows) = (views.0.as_slice()?, views.1.as_slice()?);
        run(keys.py(), || {
            let kernels = choose_kernels(None)?;
            let compute = compute(&*kernels, ActivationPrecision::Float);
            let place = (&block_table[..], position);
            self.blocks().store(compute, place, key_rows, value_rows)
        })
    }

    /// Attention of query rows `[heads, head_dim]`. Each of `sequences` is how many rows come next and
    /// the position of the first; all share the block table.
    fn attend<'py>(
        &self,
        queries: &Bound<'py, PyAny>,
        shape: Shape,
        sequences: Vec<(usize, usize)>,
        block_table: Vec<u32>,
        isa: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let view = contiguous::<f32>("queries", queries)?;
        let input = view.as_slice()?;
        let (num_heads, scale, soft_cap, window) = shape;
        let shape = AttentionShape {
            num_heads,
            scale,
            soft_cap,
            window,
        };
        let output = run(queries.py(), || {
            let kernels = choose_kernels(isa)?;
            let compute = compute(&*kernels, ActivationPrecision::Float);
            let rows = (&sequences[..], &block_table[..]);
            self.blocks().attend(compute, shape, input, rows)
        })?;
        Ok(flat(queries.py(), output))
    }
}

impl KvBlocks {
    fn blocks(&self) -> MutexGuard<'_, LayerBlocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
