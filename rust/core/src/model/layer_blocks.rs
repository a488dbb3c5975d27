//! Blocks of one layer whose tables the caller keeps: attention as the engine does it, without an engine.

use ruvllm_kernels::{
    AttentionBuffers, AttentionSequence, AttentionShape, BLOCK_TOKENS, KvFormat, KvLayout, KvRows,
    KvStorage, KvTarget, QueryRows,
};

use crate::error::{Error, Result, whole_rows};

use super::compute::Compute;
use super::layer_rows::LayerRows;

/// Keys and values of one layer, in blocks that are named by number.
#[derive(Debug)]
pub struct LayerBlocks {
    layout: KvLayout,
    blocks: usize,
    storage: KvStorage,
}

impl LayerBlocks {
    /// So many blocks, of zeros.
    pub fn new(
        blocks: usize,
        (kv_heads, head_dim): (usize, usize),
        format: KvFormat,
    ) -> Result<Self> {
        let layout = KvLayout {
            layers: 1,
            kv_heads,
            head_dim,
            format,
        };
        let storage = KvStorage::zeroed(layout, blocks).map_err(|error| {
            Error::OutOfMemory(format!("no memory for {blocks} blocks: {error}"))
        })?;
        Ok(Self {
            layout,
            blocks,
            storage,
        })
    }

    /// How many blocks there are.
    pub fn num_blocks(&self) -> usize {
        self.blocks
    }

    /// Bytes of each.
    pub fn block_bytes(&self) -> usize {
        self.layout.block_bytes()
    }

    /// Writes rows of keys and values, `[kv_heads, head_dim]` each, from a position on.
    pub fn store(
        &mut self,
        compute: Compute<'_>,
        (table, position): (&[u32], usize),
        keys: &[f32],
        values: &[f32],
    ) -> Result<()> {
        let width = self.layout.kv_heads * self.layout.head_dim;
        whole_rows("keys", keys.len(), width)?;
        if values.len() != keys.len() {
            return Err(Error::Config("values has not the size of keys".to_owned()));
        }
        let sequence = AttentionSequence {
            first_row: 0,
            rows: keys.len() / width,
            first_position: position,
            block_table: table,
        };
        self.check(&sequence)?;
        let target = KvTarget {
            layout: self.layout,
            data: self.storage.data_mut(),
            layer: 0,
        };
        let rows = KvRows {
            keys,
            values,
            stride: width,
        };
        one_layer(compute, vec![sequence]).store(target, rows);
        Ok(())
    }

    /// Attention of query rows `[heads, head_dim]`. Each of `sequences` is how many rows come next and the
    /// position of the first; all share the table.
    pub fn attend(
        &self,
        compute: Compute<'_>,
        shape: AttentionShape,
        queries: &[f32],
        (sequences, table): (&[(usize, usize)], &[u32]),
    ) -> Result<Vec<f32>> {
        let KvLayout {
            kv_heads, head_dim, ..
        } = self.layout;
        if shape.num_heads == 0 || !shape.num_heads.is_multiple_of(kv_heads) {
            return Err(Error::Config(format!(
                "{} query heads cannot share {kv_heads} key-value heads",
                shape.num_heads
            )));
        }
        let width = shape.num_heads * head_dim;
        whole_rows("queries", queries.len(), width)?;
        let mut placed = Vec::new();
        let mut first_row = 0;
        for (rows, first_position) in sequences.iter().copied() {
            let sequence = AttentionSequence {
                first_row,
                rows,
                first_position,
                block_table: table,
            };
            self.check(&sequence)?;
            placed.push(sequence);
            first_row += rows;
        }
        if first_row * width != queries.len() {
            return Err(Error::Config(format!(
                "queries are not {first_row} rows of {width}"
            )));
        }
        let rows = QueryRows {
            values: queries,
            stride: width,
        };
        let mut output = vec![0.0; queries.len()];
        let mut buffers = AttentionBuffers::default();
        let view = self.storage.view();
        one_layer(compute, placed).attend(view, shape, rows, &mut buffers, &mut output);
        Ok(output)
    }

    /// Refuses a table that has no block for a position, or names one that is not there or twice.
    fn check(&self, sequence: &AttentionSequence<'_>) -> Result<()> {
        let table = sequence.block_table;
        let end = sequence.first_position.saturating_add(sequence.rows);
        let needed = end.div_ceil(BLOCK_TOKENS);
        let mut seen = vec![false; self.blocks];
        for block in table {
            match seen.get_mut(*block as usize) {
                Some(seen) if !*seen => *seen = true,
                Some(_) => return Err(refused(&format!("block {block} stands there twice"))),
                None => {
                    return Err(refused(&format!(
                        "block {block} is not among {}",
                        self.blocks
                    )));
                }
            }
        }
        if table.len() < needed {
            let have = table.len();
            return Err(refused(&format!(
                "{end} positions need {needed} blocks, it has {have}"
            )));
        }
        Ok(())
    }
}

fn one_layer<'a>(compute: Compute<'a>, sequences: Vec<AttentionSequence<'a>>) -> LayerRows<'a> {
    LayerRows {
        compute,
        layer: 0,
        sequences,
    }
}

fn refused(problem: &str) -> Error {
    Error::Config(format!("block_table: {problem}"))
}
