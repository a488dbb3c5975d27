//! What a task of attention works on: its scaled queries and results, and the panels of a segment.

use std::f32::consts::LOG2_E;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::product::{Ahead, Stored};
use super::scale::Side;
use super::setting::{QUERY_ROWS, Setting};
use super::task::{Dimensions, SEGMENT_BLOCKS, SEGMENT_TOKENS, visible};
use crate::simd::prefetch;

/// Floats of a cache line; rows of scratch memory begin on one.
const LINE_FLOATS: usize = 16;
/// How far ahead of the sums memory is asked for.
const AHEAD_BYTES: usize = 8 << 10;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "reached by pointers")] [f32; LINE_FLOATS]);

/// Memory of one task, reached by raw pointers: tiles read and write rows of it side by side.
pub(super) struct Scratch {
    memory: *mut Line,
    /// Keeps the memory.
    _owner: Vec<MaybeUninit<Line>>,
    /// Query rows of the task.
    rows: usize,
    /// Lines of a row of queries or results.
    lines: usize,
}

impl Scratch {
    /// Lines of a row of weights.
    const WEIGHT_LINES: usize = SEGMENT_TOKENS / LINE_FLOATS;

    /// The memory, with the scaled queries in it.
    #[inline(always)]
    pub(super) fn new(setting: Setting<'_>) -> Self {
        let Dimensions {
            group, head_dim, ..
        } = setting.dimensions;
        let lines = head_dim.div_ceil(LINE_FLOATS);
        let rows = setting.dimensions.rows();
        let length = (rows + QUERY_ROWS) * lines + QUERY_ROWS * Self::WEIGHT_LINES;
        let mut owner = vec![MaybeUninit::<Line>::uninit(); length];
        let scratch = Self {
            memory: owner.as_mut_ptr().cast(),
            _owner: owner,
            rows,
            lines,
        };
        // Scores come out as powers of two; where there is a cap, first as what `tanh` takes.
        let scale = match setting.shape.soft_cap {
            Some(cap) => setting.shape.scale / cap,
            None => setting.shape.scale * LOG2_E,
        };
        let queries = setting.task.queries;
        for token in 0..setting.dimensions.tokens {
            let row = &queries.values[token * queries.stride..];
            let heads = &row[setting.task.kv_head * group * head_dim..][..group * head_dim];
            for line in heads.chunks(LINE_FLOATS) {
                prefetch(line.as_ptr().cast());
            }
        }
        for row in 0..rows {
            let head = setting.task.kv_head * group + row % group;
            let query = &queries.values[row / group * queries.stride + head * head_dim..];
            let target = scratch.query(row);
            for (dimension, value) in query[..head_dim].iter().enumerate() {
                // SAFETY: a row of queries has `head_dim` floats, rounded up to lines.
                unsafe { *target.add(dimension) = value * scale };
            }
        }
        scratch
    }

    fn line(&self, index: usize) -> *mut f32 {
        self.memory.wrapping_add(index).cast()
    }

    /// A scaled query, `[lines]`.
    pub(super) fn query(&self, row: usize) -> *mut f32 {
        self.line(row * self.lines)
    }

    /// Weighted values of a row of the tile, `[lines]`.
    pub(super) fn results(&self, row: usize) -> *mut f32 {
        self.line((self.rows + row) * self.lines)
    }

    /// Scores, then weights, of a row of the tile, `[positions of a segment]`.
    pub(super) fn weights(&self, row: usize) -> *mut f32 {
        self.line((self.rows + QUERY_ROWS) * self.lines + row * Self::WEIGHT_LINES)
    }
}

/// Where the keys and values of some segments stand in the pool, in the order of their use: for each
/// segment, the keys of its blocks, with the scales behind them, then their values.
pub(super) struct Panels<'a, S> {
    panels: Vec<&'a [S]>,
}

impl<'a, S: Stored> Panels<'a, S> {
    pub(super) fn new(data: &'a [S], setting: Setting<'_>, segments: Range<usize>) -> Self {
        let Setting {
            kv, shape, task, ..
        } = setting;
        let (keys, all) = (kv.layout.key_panel_elements(), kv.layout.head_elements());
        let mut panels = Vec::with_capacity(2 * SEGMENT_BLOCKS * segments.len());
        for segment in segments {
            let blocks = task.blocks(kv, shape.window, segment);
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
}

impl<'a, S> Segment<'a, S> {
    /// The segment whose panels come first, which are then taken away.
    pub(super) fn take(
        (panels, first): (&'a Panels<'_, S>, &mut usize),
        setting: Setting<'_>,
        index: usize,
    ) -> Self {
        let Setting {
            kv, shape, task, ..
        } = setting;
        let blocks = task.blocks(kv, shape.window, index);
        let begin = *first;
        *first += 2 * blocks.len();
        let before = index * SEGMENT_BLOCKS;
        Self {
            first_position: index * SEGMENT_TOKENS,
            blocks: blocks.start - before..blocks.end - before,
            panels: &panels.panels[begin..*first],
            keys: kv.layout.panel_elements(),
        }
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
        let scales = &self.panels[block - self.blocks.start][self.keys..];
        scales
            .as_ptr()
            .cast::<u8>()
            .wrapping_add(side.place(token))
            .cast()
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
            let seen = visible(setting.task.first_position + token, setting.shape.window);
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
}
