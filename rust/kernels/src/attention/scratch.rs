//! Memory of one task of attention: its scaled queries, and what a tile gathers.

use std::f32::consts::LOG2_E;
use std::mem::MaybeUninit;

use super::setting::{QUERY_ROWS, Setting};
use super::task::{Dimensions, SEGMENT_TOKENS};
use crate::simd::prefetch;

/// Floats of a cache line; rows of scratch memory begin on one.
const LINE_FLOATS: usize = 16;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line(#[allow(dead_code, reason = "reached by pointers")] [f32; LINE_FLOATS]);

/// Memory of one task, reached by raw pointers: tiles read and write rows of it side by side.
pub(crate) struct Scratch {
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
