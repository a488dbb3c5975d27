//! `KvBlocks`: keys and values in the engine's blocks, and attention over them.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model::{ActivationPrecision, NO_BLOCK, SharedLayerBlocks};
use ruvllm_kernels::{AttentionShape, BLOCK_TOKENS, KvFormat};

use crate::arrays::{contiguous, flat};
use crate::convert::choice;
use crate::packed_matrix::compute;
use crate::run::run;
use crate::system::choose_kernels;

/// Blocks of one layer.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct KvBlocks(SharedLayerBlocks);

/// Heads, scale, soft cap and window of the queries.
type Shape = (usize, f32, Option<f32>, Option<usize>);
/// Blocks, their table, and how many tokens are seen there.
type Tail = (Py<KvBlocks>, Vec<u32>, usize);

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
            SharedLayerBlocks::new(blocks, (kv_heads, head_dim), format).map(Self)
        })
    }

    /// How many blocks there are, and bytes of each.
    #[getter]
    fn size(&self) -> (usize, usize) {
        self.0.size()
    }

    /// Tokens of a block.
    #[classattr]
    const BLOCK_TOKENS: usize = BLOCK_TOKENS;
    /// Stands in a block table where nobody looks.
    #[classattr]
    const NO_BLOCK: u32 = NO_BLOCK;

    /// Writes rows of keys and values, `[kv_heads, head_dim]` each, from a position on.
    fn store(
        &self,
        block_table: Vec<u32>,
        position: usize,
        keys: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let own_keys = contiguous::<f32>("keys", keys)?;
        let own_values = contiguous::<f32>("values", values)?;
        let (key_rows, value_rows) = (own_keys.as_slice()?, own_values.as_slice()?);
        run(keys.py(), || {
            let kernels = choose_kernels(None)?;
            let compute = compute(&*kernels, ActivationPrecision::Float);
            let place = (&block_table[..], position);
            self.0.store(compute, place, key_rows, value_rows)
        })
    }

    /// Rows of keys and values as they were stored, from one position up to another.
    fn rows<'py>(
        &self,
        py: Python<'py>,
        block_table: Vec<u32>,
        begin: usize,
        end: usize,
    ) -> PyResult<[Bound<'py, PyArray1<f32>>; 2]> {
        let (keys, values) = run(py, || self.0.rows(&block_table, begin..end))?;
        Ok([flat(py, keys), flat(py, values)])
    }

    /// Attention of query rows `[heads, head_dim]`. `rows` says how many rows come next and the
    /// position of the first, of each sequence, and the block table that all share. A tail is other blocks, their table, and how many of the last
    /// tokens are seen there.
    fn attend<'py>(
        &self,
        queries: &Bound<'py, PyAny>,
        shape: Shape,
        rows: (Vec<(usize, usize)>, Vec<u32>),
        isa: Option<&str>,
        tail: Option<Tail>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let view = contiguous::<f32>("queries", queries)?;
        let input = view.as_slice()?;
        let (heads, scale, cap, window) = shape;
        let shape = AttentionShape::new(heads, scale, cap, window);
        let output = run(queries.py(), || {
            let kernels = choose_kernels(isa)?;
            let compute = compute(&*kernels, ActivationPrecision::Float);
            let rows = (&rows.0[..], &rows.1[..]);
            let near = tail
                .as_ref()
                .map(|(near, table, tokens)| (&near.get().0, &table[..], *tokens));
            self.0.attend(compute, shape, input, rows, near)
        })?;
        Ok(flat(queries.py(), output))
    }
}
