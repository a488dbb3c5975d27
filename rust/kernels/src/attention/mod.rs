//! Attention over key-value blocks: grouped heads, causal, with windows and soft caps.

pub(crate) mod flash;
mod layout;

pub use layout::{BLOCK_TOKENS, KvData, KvDataMut, KvFormat, KvLayout, KvSlot, KvView, store_kv};

/// What is the same for every query of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub num_heads: usize,
    /// Factor on query times key.
    pub scale: f32,
    /// `cap * tanh(score / cap)`.
    pub soft_cap: Option<f32>,
    /// A query sees this many positions, itself included.
    pub window: Option<usize>,
}

/// Queries of consecutive positions of one sequence, against one KV head.
#[derive(Debug, Clone, Copy)]
pub struct AttentionTask<'a> {
    /// `[tokens, num_heads * head_dim]`, rotated.
    pub queries: &'a [f32],
    /// The position of the first query.
    pub first_position: usize,
    /// The sequence's blocks, covering the last query's position.
    pub block_table: &'a [u32],
    /// The layer.
    pub layer: usize,
    /// The KV head; its query heads are `kv_head * group..`.
    pub kv_head: usize,
}

impl AttentionTask<'_> {
    /// Query rows: tokens times the query heads of this KV head.
    pub(crate) fn check(&self, kv: &KvView<'_>, shape: &AttentionShape) -> Dimensions {
        let layout = kv.layout;
        assert!(
            layout.kv_heads > 0 && shape.num_heads.is_multiple_of(layout.kv_heads),
            "{} query heads over {} KV heads",
            shape.num_heads,
            layout.kv_heads
        );
        let width = shape.num_heads * layout.head_dim;
        assert!(
            width > 0 && self.queries.len().is_multiple_of(width),
            "queries are rows of {width}"
        );
        let tokens = self.queries.len() / width;
        let blocks = (self.first_position + tokens).div_ceil(BLOCK_TOKENS);
        assert!(
            self.block_table.len() >= blocks,
            "{} blocks of {blocks}",
            self.block_table.len()
        );
        assert!(
            self.layer < layout.layers && self.kv_head < layout.kv_heads,
            "layer or head outside"
        );
        let known = kv.blocks();
        assert!(
            self.block_table[..blocks]
                .iter()
                .all(|block| (*block as usize) < known),
            "a block outside the pool"
        );
        Dimensions {
            tokens,
            group: shape.num_heads / layout.kv_heads,
            head_dim: layout.head_dim,
            width,
        }
    }
}

/// The checked sizes of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dimensions {
    pub(crate) tokens: usize,
    /// Query heads of a KV head.
    pub(crate) group: usize,
    pub(crate) head_dim: usize,
    /// Floats of a query row, all heads.
    pub(crate) width: usize,
}

/// The positions that a query at `position` sees.
pub(crate) fn visible(position: usize, window: Option<usize>) -> std::ops::Range<usize> {
    let begin = window.map_or(0, |window| (position + 1).saturating_sub(window.max(1)));
    begin..position + 1
}
