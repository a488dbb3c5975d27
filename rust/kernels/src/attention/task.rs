//! What one call of attention is about: the shape of a layer, some queries, and what of the context they see.

use super::block_keys::BlockKeys;
use super::layout::{BLOCK_TOKENS, SEGMENT_BLOCKS, SEGMENT_TOKENS};
use super::rows::{QueryRows, RowsMut};
use super::storage::KvView;

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
    /// Of so many of them, the last ones, it sees nothing here: they are another tier's.
    pub behind: usize,
}

impl AttentionShape {
    /// Of what is in one tier.
    pub const fn new(
        num_heads: usize,
        scale: f32,
        soft_cap: Option<f32>,
        window: Option<usize>,
    ) -> Self {
        Self {
            num_heads,
            scale,
            soft_cap,
            window,
            behind: 0,
        }
    }

    /// The positions that a query at `position` sees.
    pub(crate) fn visible(&self, position: usize) -> std::ops::Range<usize> {
        let end = (position + 1).saturating_sub(self.behind);
        let begin = |window: usize| (position + 1).saturating_sub(window.max(1));
        self.window.map_or(0, begin).min(end)..end
    }
}

/// Queries of consecutive positions of one sequence, against one KV head of one tier.
#[derive(Debug, Clone, Copy)]
pub struct AttentionTask<'a> {
    /// Keys and values.
    pub kv: KvView<'a>,
    /// What is the same for every query.
    pub shape: AttentionShape,
    /// One row a token, rotated; a row begins with all heads, `[num_heads, head_dim]`.
    pub queries: QueryRows<'a>,
    /// What the stored keys lack.
    pub block_keys: Option<BlockKeys<'a>>,
    /// How many tokens.
    pub tokens: usize,
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
    /// Checks everything that does not depend on the segment.
    pub(crate) fn check(&self) -> Dimensions {
        let Self { kv, shape, .. } = self;
        let layout = kv.layout;
        assert!(kv.is_of_its_format(), "blocks of another format");
        assert!(
            layout.kv_heads > 0 && shape.num_heads.is_multiple_of(layout.kv_heads),
            "{} query heads over {} KV heads",
            shape.num_heads,
            layout.kv_heads
        );
        assert!(
            self.layer < layout.layers && self.kv_head < layout.kv_heads,
            "layer or head outside"
        );
        let width = shape.num_heads * layout.head_dim;
        assert!(
            width > 0 && self.queries.holds(self.tokens, width),
            "{} query rows of {width}",
            self.tokens
        );
        if let Some(own) = self.block_keys {
            let keys = BlockKeys::elements(self.seen().end, layout.head_dim);
            assert!(
                own.queries.holds(self.tokens, width) && own.keys.len() >= keys,
                "{keys} numbers of block keys, and {} queries",
                self.tokens
            );
        }
        Dimensions {
            tokens: self.tokens,
            group: shape.num_heads / layout.kv_heads,
            head_dim: layout.head_dim,
        }
    }

    /// The positions that some query sees.
    pub(crate) fn seen(&self) -> std::ops::Range<usize> {
        let Some(last) = self.tokens.checked_sub(1) else {
            return 0..0;
        };
        let is_behind = |window: usize| window.max(1) <= self.shape.behind;
        if self.shape.window.is_some_and(is_behind) {
            return 0..0;
        }
        let first = self.shape.visible(self.first_position);
        first.start..self.shape.visible(self.first_position + last).end
    }

    /// The segments of which some query sees something.
    pub(crate) fn segments(&self) -> std::ops::Range<usize> {
        let seen = self.seen();
        if seen.is_empty() {
            return 0..0;
        }
        seen.start / SEGMENT_TOKENS..seen.end.div_ceil(SEGMENT_TOKENS)
    }

    /// The blocks of a segment that hold something seen, each checked to lie in the pool.
    pub(crate) fn blocks(&self, segment: usize) -> std::ops::Range<usize> {
        let seen = self.seen();
        let begin = (seen.start / BLOCK_TOKENS).max(segment * SEGMENT_BLOCKS);
        let end = seen.end.div_ceil(BLOCK_TOKENS);
        let blocks = begin..end.min((segment + 1) * SEGMENT_BLOCKS).max(begin);
        assert!(
            self.block_table.len() >= blocks.end,
            "{} blocks of {}",
            self.block_table.len(),
            blocks.end
        );
        let known = self.kv.blocks();
        assert!(
            self.block_table[blocks.clone()]
                .iter()
                .all(|block| (*block as usize) < known),
            "a block outside the pool"
        );
        blocks
    }
}

/// The checked sizes of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimensions {
    pub(crate) tokens: usize,
    /// Query heads of a KV head.
    pub(crate) group: usize,
    pub(crate) head_dim: usize,
}

impl Dimensions {
    /// Query rows: tokens times the heads that share the KV head.
    pub(crate) fn rows(self) -> usize {
        self.tokens * self.group
    }

    /// Floats of what one segment adds: the values of every row, then the maxima, then the sums.
    pub(crate) fn part_length(self) -> usize {
        self.rows() * (self.head_dim + 2)
    }

    /// Panics unless `output` has a row of all heads of the group for every token.
    pub(crate) fn check_output(self, output: &RowsMut<'_>) {
        assert!(
            output.rows() == self.tokens && output.width() == self.group * self.head_dim,
            "output of {self:?}"
        );
    }
}
