//! Blocks of one layer whose tables the caller keeps: attention as the engine does it, without an engine.

use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, BLOCK_TOKENS, KvFormat,
    KvLayout, KvRows, KvSlot, KvStorage, KvTarget, QueryRows, attend_batch, load_kv,
};

use crate::error::{Error, Result, whole_rows};

use super::compute::Compute;
use super::layer_rows::TierRows;

/// Stands in a table for a block that nobody looks at.
pub const NO_BLOCK: u32 = u32::MAX;

/// Keys and values of one layer, in blocks that are named by number.
#[derive(Debug)]
pub(super) struct LayerBlocks {
    layout: KvLayout,
    blocks: usize,
    storage: KvStorage,
}

impl LayerBlocks {
    /// So many blocks, of zeros.
    pub(super) fn new(
        blocks: usize,
        (kv_heads, head_dim): (usize, usize),
        format: KvFormat,
    ) -> Result<Self> {
        let layout = KvLayout::new(1, (kv_heads, head_dim), format);
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
    pub(super) fn num_blocks(&self) -> usize {
        self.blocks
    }

    /// Bytes of each.
    pub(super) fn block_bytes(&self) -> usize {
        self.layout.block_bytes()
    }

    /// Writes rows of keys and values, `[kv_heads, head_dim]` each, from a position on.
    pub(super) fn store(
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
        self.check(&sequence, position)?;
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
        one_layer(vec![sequence]).store(compute, target, rows);
        Ok(())
    }

    /// Rows of keys and values as they were stored, from a position on.
    pub(super) fn rows(
        &self,
        table: &[u32],
        positions: std::ops::Range<usize>,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let sequence = AttentionSequence {
            first_row: 0,
            rows: positions.len(),
            first_position: positions.start,
            block_table: table,
        };
        self.check(&sequence, positions.start)?;
        let view = self.storage.view();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for position in positions {
            let slot = KvSlot {
                block: table[position / BLOCK_TOKENS],
                position: position % BLOCK_TOKENS,
                layer: 0,
            };
            let (key, value) = load_kv(&view, slot);
            keys.extend(key);
            values.extend(value);
        }
        Ok((keys, values))
    }

    /// Attention of query rows `[heads, head_dim]`. Each of `sequences` is how many rows come next and the
    /// position of the first; all share the tables. Of the last tokens a tail may have keys and values of its own.
    pub(super) fn attend(
        &self,
        compute: Compute<'_>,
        shape: AttentionShape,
        queries: &[f32],
        (sequences, table): (&[(usize, usize)], &[u32]),
        tail: Option<LayerTail<'_>>,
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
        let shape_of_store = AttentionShape {
            behind: tail.map_or(0, |tail| tail.tokens),
            ..shape
        };
        let store = self.placed(shape_of_store, (sequences, table))?;
        let near = match tail {
            Some(tail) => Some(tail.placed(self.layout, shape, sequences)?),
            None => None,
        };
        let rows: usize = sequences.iter().map(|(rows, _)| rows).sum();
        if rows * width != queries.len() {
            return Err(Error::Config(format!(
                "queries are not {rows} rows of {width}"
            )));
        }
        let rows = QueryRows {
            values: queries,
            stride: width,
        };
        let mut output = vec![0.0; queries.len()];
        let mut buffers = AttentionBuffers::default();
        let mut tiers = vec![store.tier(self.storage.view(), shape_of_store)];
        if let (Some(tail), Some((near, shape))) = (tail, &near) {
            tiers.push(near.tier(tail.blocks.storage.view(), *shape));
        }
        let batch = AttentionBatch {
            queries: rows,
            block_keys: None,
            tiers: &tiers,
        };
        attend_batch(
            compute.kernels,
            compute.pool,
            &batch,
            &mut buffers,
            &mut output,
        );
        Ok(output)
    }

    /// The rows of sequences that share a table, each checked to have what it sees.
    fn placed<'a>(
        &self,
        shape: AttentionShape,
        (sequences, table): (&[(usize, usize)], &'a [u32]),
    ) -> Result<TierRows<'a>> {
        let mut placed = Vec::new();
        let mut first_row = 0;
        for (rows, first_position) in sequences.iter().copied() {
            let sequence = AttentionSequence {
                first_row,
                rows,
                first_position,
                block_table: table,
            };
            let seen = AttentionSequence {
                rows: rows.saturating_sub(shape.behind.saturating_sub(first_position)),
                first_position: first_position.saturating_sub(shape.behind),
                ..sequence
            };
            let window = shape.window.unwrap_or(usize::MAX).max(1);
            self.check(
                &seen,
                first_position.saturating_add(1).saturating_sub(window),
            )?;
            placed.push(sequence);
            first_row += rows;
        }
        Ok(one_layer(placed))
    }

    /// Refuses a table that has no block for a position, or names one that is not there or twice. Before position `first`
    /// there may be none.
    fn check(&self, sequence: &AttentionSequence<'_>, first: usize) -> Result<()> {
        let table = sequence.block_table;
        let end = sequence.first_position.saturating_add(sequence.rows);
        let needed = end.div_ceil(BLOCK_TOKENS);
        let mut seen = vec![false; self.blocks];
        for (row, block) in table.iter().enumerate() {
            if *block == NO_BLOCK && row < first / BLOCK_TOKENS {
                continue;
            }
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

/// The last tokens of the same layer in other blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerTail<'a> {
    /// Where they are.
    pub(super) blocks: &'a LayerBlocks,
    /// The table of all positions; where none is seen it may have [`NO_BLOCK`].
    pub(super) table: &'a [u32],
    /// A query sees so many of them, itself included.
    pub(super) tokens: usize,
}

impl<'a> LayerTail<'a> {
    /// The rows of sequences, and the shape as they see it; `store` is what the tail must go with.
    fn placed(
        self,
        store: KvLayout,
        shape: AttentionShape,
        sequences: &[(usize, usize)],
    ) -> Result<(TierRows<'a>, AttentionShape)> {
        let own = self.blocks.layout;
        if (own.kv_heads, own.head_dim) != (store.kv_heads, store.head_dim) || self.tokens == 0 {
            return Err(Error::Config(format!(
                "a tail of {} tokens, {} heads of {}, beside {} heads of {}",
                self.tokens, own.kv_heads, own.head_dim, store.kv_heads, store.head_dim
            )));
        }
        let window = shape
            .window
            .map_or(self.tokens, |window| window.min(self.tokens));
        let shape = AttentionShape {
            window: Some(window),
            ..shape
        };
        Ok((self.blocks.placed(shape, (sequences, self.table))?, shape))
    }
}

fn one_layer(sequences: Vec<AttentionSequence<'_>>) -> TierRows<'_> {
    TierRows {
        layer: 0,
        sequences,
    }
}

fn refused(problem: &str) -> Error {
    Error::Config(format!("block_table: {problem}"))
}
