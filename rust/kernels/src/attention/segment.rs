//! The panels of keys and values that segments are made of, and what of a segment each row sees.

use std::ops::Range;

use super::ahead::Ahead;
use super::layout::{BLOCK_TOKENS, SEGMENT_BLOCKS, SEGMENT_TOKENS, Side};
use super::setting::Setting;
use super::small_scale;
use super::stored::Stored;

/// How far ahead of the sums memory is asked for.
const AHEAD_BYTES: usize = 8 << 10;

/// Where the keys and values of some segments stand in the pool, in the order of their use: for each
/// segment, the keys of its blocks, with the scales behind them, then their values.
pub(super) struct Panels<'a, S> {
    panels: Vec<&'a [S]>,
}

impl<'a, S: Stored> Panels<'a, S> {
    pub(super) fn new(data: &'a [S], setting: Setting<'_>, segments: Range<usize>) -> Self {
        let Setting { kv, task, .. } = setting;
        let (keys, all) = (kv.layout.key_panel_elements(), kv.layout.head_elements());
        let mut panels = Vec::with_capacity(2 * SEGMENT_BLOCKS * segments.len());
        for segment in segments {
            let blocks = task.blocks(segment);
            for place in [0..keys, keys..all] {
                panels.extend(task.block_table[blocks.clone()].iter().map(|block| {
                    let begin = kv.layout.key_offset(*block, task.layer, task.kv_head);
                    &data[begin + place.start..begin + place.end]
                }));
            }
        }
        Self { panels }
    }

    pub(super) fn ahead(&self) -> Ahead<'_, S> {
        Ahead::start(&self.panels, AHEAD_BYTES)
    }
}

/// The panels of one segment.
pub(super) struct Segment<'a, S> {
    /// The position of the segment's first block.
    pub(super) first_position: usize,
    /// Blocks, counted from the segment's beginning, of which some query sees something.
    blocks: Range<usize>,
    panels: &'a [&'a [S]],
    /// Numbers of a block's keys.
    keys: usize,
    /// The scales of its blocks, where they are no floats as they stand.
    scales: Vec<f32>,
}

impl<'a, S: Stored> Segment<'a, S> {
    /// Before the first.
    pub(super) fn none() -> Self {
        Self {
            first_position: 0,
            blocks: 0..0,
            panels: &[],
            keys: 0,
            scales: Vec::new(),
        }
    }

    /// The segment whose panels come first, which are then taken away, in the memory of the one before.
    pub(super) fn next(
        self,
        (panels, first): (&'a Panels<'_, S>, &mut usize),
        setting: Setting<'_>,
        index: usize,
    ) -> Self {
        let Setting { kv, task, .. } = setting;
        let blocks = task.blocks(index);
        let begin = *first;
        *first += 2 * blocks.len();
        let before = index * SEGMENT_BLOCKS;
        let mut next = Self {
            first_position: index * SEGMENT_TOKENS,
            blocks: blocks.start - before..blocks.end - before,
            panels: &panels.panels[begin..*first],
            keys: kv.layout.panel_elements(Side::Key),
            scales: self.scales,
        };
        next.scales.clear();
        if kv.layout.format.has_small_scales() {
            next.scales.reserve(2 * SEGMENT_TOKENS);
            for panel in &next.panels[..blocks.len()] {
                let codes = panel[next.keys..].iter().map(|code| code.bits() as u8);
                next.scales.extend(codes.map(small_scale::scale));
            }
        }
        next
    }

    #[inline(always)]
    pub(super) fn keys(&self, block: usize) -> *const S {
        self.panels[block - self.blocks.start].as_ptr()
    }

    #[inline(always)]
    pub(super) fn values(&self, block: usize) -> *const S {
        self.panels[self.blocks.len() + block - self.blocks.start].as_ptr()
    }

    /// The scales of some tokens of a block, in a format that has them.
    #[inline(always)]
    pub(super) fn scales(&self, block: usize, side: Side, token: usize) -> *const f32 {
        let block = block - self.blocks.start;
        let first = if self.scales.is_empty() {
            self.panels[block][self.keys..].as_ptr().cast::<f32>()
        } else {
            self.scales[2 * BLOCK_TOKENS * block..].as_ptr()
        };
        first.wrapping_add(side.index(token))
    }
}

/// Positions of a segment, counted from its beginning.
pub(super) struct Seen<const ROWS: usize> {
    /// What each row sees.
    pub(super) rows: [Range<usize>; ROWS],
    /// What some row sees.
    pub(super) some: Range<usize>,
}

impl<const ROWS: usize> Seen<ROWS> {
    #[inline(always)]
    pub(super) fn new(setting: Setting<'_>, first_position: usize, first_row: usize) -> Self {
        let rows: [_; ROWS] = std::array::from_fn(|row| {
            let token = (first_row + row) / setting.dimensions.group;
            let seen = setting.shape.visible(setting.task.first_position + token);
            let inside = |position: usize| {
                position.clamp(first_position, first_position + SEGMENT_TOKENS) - first_position
            };
            inside(seen.start)..inside(seen.end)
        });
        // Both ends grow from row to row.
        Self {
            some: rows[0].start..rows[ROWS - 1].end,
            rows,
        }
    }

    /// The blocks of what some row sees, counted from the segment's beginning.
    #[inline(always)]
    pub(super) fn blocks(&self) -> Range<usize> {
        self.some.start / BLOCK_TOKENS..self.some.end.div_ceil(BLOCK_TOKENS)
    }
}
