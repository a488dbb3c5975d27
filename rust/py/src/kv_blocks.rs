//! `KvBlocks`: keys and values in the engine's blocks, and attention over them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::{Error, Result};
use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, BLOCK_TOKENS, KvFormat,
    KvLayout, KvRows, KvRun, KvStorage, KvTarget, QueryRows, attend_batch, store_batch,
};

use crate::arrays::{contiguous, flat};
use crate::convert::choice;
use crate::packed_matrix::POOL;
use crate::row_kernels::check_rows;
use crate::run::run;
use crate::system::choose_kernels;

const FORMATS: [(&str, KvFormat); 3] = [
    ("f16", KvFormat::F16),
    ("f32", KvFormat::F32),
    ("int8", KvFormat::I8),
];

/// Blocks of one layer.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct KvBlocks {
    layout: KvLayout,
    blocks: usize,
    storage: Mutex<KvStorage>,
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
            let layout = KvLayout {
                layers: 1,
                kv_heads,
                head_dim,
                format: choice("kv_format", kv_format, &FORMATS)?,
            };
            let storage = KvStorage::zeroed(layout, blocks).map_err(|error| {
                Error::OutOfMemory(format!("no memory for {blocks} blocks: {error}"))
            })?;
            Ok(Self {
                layout,
                blocks,
                storage: Mutex::new(storage),
            })
        })
    }

    /// Tokens of a block.
    #[classattr]
    const BLOCK_TOKENS: usize = BLOCK_TOKENS;

    #[getter]
    fn num_blocks(&self) -> usize {
        self.blocks
    }

    #[getter]
    fn block_bytes(&self) -> usize {
        self.layout.block_bytes()
    }

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
            let width = self.layout.kv_heads * self.layout.head_dim;
            check_rows("keys", key_rows.len(), width)?;
            if value_rows.len() != key_rows.len() {
                return Err(Error::Config("values has not the size of keys".to_owned()));
            }
            let tokens = key_rows.len() / width;
            self.check_table(&block_table, position, tokens)?;
            let mut runs: Vec<_> = KvRun::of_table(&block_table, position, tokens, 0).collect();
            let rows = KvRows {
                keys: key_rows,
                values: value_rows,
                stride: width,
            };
            let mut storage = self.storage();
            let target = KvTarget {
                layout: self.layout,
                data: storage.data_mut(),
                layer: 0,
            };
            store_batch(&*choose_kernels(None)?, &POOL, target, rows, &mut runs);
            Ok(())
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
        let output = run(queries.py(), || {
            let (num_heads, scale, soft_cap, window) = shape;
            if num_heads == 0 || !num_heads.is_multiple_of(self.layout.kv_heads) {
                return Err(Error::Config(format!(
                    "{num_heads} query heads cannot share {} key-value heads",
                    self.layout.kv_heads
                )));
            }
            let width = num_heads * self.layout.head_dim;
            check_rows("queries", input.len(), width)?;
            let mut first_row = 0;
            let mut placed = Vec::new();
            for (rows, first_position) in sequences {
                self.check_table(&block_table, first_position, rows)?;
                placed.push(AttentionSequence {
                    first_row,
                    rows,
                    first_position,
                    block_table: &block_table,
                });
                first_row += rows;
            }
            if first_row * width != input.len() {
                return Err(Error::Config(format!(
                    "queries are not {first_row} rows of {width}"
                )));
            }
            let storage = self.storage();
            let batch = AttentionBatch {
                kv: storage.view(),
                shape: AttentionShape {
                    num_heads,
                    scale,
                    soft_cap,
                    window,
                },
                layer: 0,
                queries: QueryRows {
                    values: input,
                    stride: width,
                },
                sequences: &placed,
            };
            let mut output = vec![0.0; input.len()];
            let mut buffers = AttentionBuffers::default();
            attend_batch(
                &*choose_kernels(isa)?,
                &POOL,
                &batch,
                &mut buffers,
                &mut output,
            );
            Ok(output)
        })?;
        Ok(flat(queries.py(), output))
    }
}

impl KvBlocks {
    fn storage(&self) -> MutexGuard<'_, KvStorage> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a table that has no block for a position, or names one that is not there or twice.
    fn check_table(&self, table: &[u32], position: usize, tokens: usize) -> Result<()> {
        let end = position.saturating_add(tokens);
        let needed = end.div_ceil(BLOCK_TOKENS);
        let mut seen = vec![false; self.blocks];
        for block in table {
            match seen.get_mut(*block as usize) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(refused(format!("block {block} stands there twice"))),
                None => {
                    return Err(refused(format!(
                        "block {block} is not among {}",
                        self.blocks
                    )));
                }
            }
        }
        if table.len() < needed {
            let have = table.len();
            return Err(refused(format!(
                "{end} positions need {needed} blocks, it has {have}"
            )));
        }
        Ok(())
    }
}

fn refused(problem: String) -> Error {
    Error::Config(format!("block_table: {problem}"))
}
