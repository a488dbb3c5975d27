//! Memory of one task of attention: its prepared queries, and what a tile gathers.

use std::f32::consts::LOG2_E;
use std::mem::MaybeUninit;

use super::arithmetic::{Arithmetic, Floats};
use super::layout::SEGMENT_TOKENS;
use super::rotation;
use super::rows::QueryRows;
use super::setting::{QUERY_ROWS, Setting};
use super::task::Dimensions;
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
    /// Where second queries begin.
    block_queries: usize,
}

impl Scratch {
    /// Lines of a row of weights.
    const WEIGHT_LINES: usize = SEGMENT_TOKENS / LINE_FLOATS;

    /// The memory; queries are to be prepared.
    pub(super) fn new(setting: Setting<'_>) -> Self {
        let lines = setting.kv.layout.padded_dim() / LINE_FLOATS;
        let rows = setting.dimensions.rows();
        let units = rows.div_ceil(LINE_FLOATS);
        let block_queries = (rows + QUERY_ROWS) * lines + QUERY_ROWS * Self::WEIGHT_LINES + units;
        let has_second = setting.task.block_keys.is_some();
        let length = block_queries + if has_second { rows * lines } else { 0 };
        let mut owner = vec![MaybeUninit::<Line>::uninit(); length];
        Self {
            memory: owner.as_mut_ptr().cast(),
            _owner: owner,
            rows,
            lines,
            block_queries,
        }
    }

    /// Writes the queries of the setting as the arithmetic takes them.
    ///
    /// # Safety
    ///
    /// The memory is of this setting.
    #[inline(always)]
    pub(crate) unsafe fn prepare<A: Arithmetic>(&self, arithmetic: A, setting: Setting<'_>) {
        // Scores come out as powers of two; where there is a cap, first as what `tanh` takes.
        let scale = match setting.shape.soft_cap {
            Some(cap) => setting.shape.scale / cap,
            None => setting.shape.scale * LOG2_E,
        };
        let queries = setting.task.queries;
        ask_for(setting, queries);
        let turned_together = setting.kv.layout.turned_together();
        let mut turned = Vec::new();
        for row in 0..self.rows {
            let mut query = query(setting, queries, row);
            if turned_together > 1 {
                turned.clear();
                turned.extend_from_slice(query);
                rotation::turn(&mut turned, turned_together);
                query = &turned;
            }
            // SAFETY: a row has `head_dim` floats, filled up to lines, and a unit.
            unsafe { *self.unit(row) = arithmetic.prepare_query(query, scale, self.query(row)) };
        }
        if let Some(own) = setting.task.block_keys {
            let floats = Floats(arithmetic.lanes());
            for row in 0..self.rows {
                let query = query(setting, own.queries, row);
                // SAFETY: where there are second queries, a row has `head_dim` floats, filled up to lines, for its own.
                unsafe { floats.prepare_query(query, scale, self.block_query(row)) };
            }
        }
    }

    fn line(&self, index: usize) -> *mut f32 {
        self.memory.wrapping_add(index).cast()
    }

    /// A prepared query, `[lines]`.
    pub(super) fn query(&self, row: usize) -> *mut f32 {
        self.line(row * self.lines)
    }

    /// A prepared second query, `[lines]`, where the setting has them.
    pub(super) fn block_query(&self, row: usize) -> *mut f32 {
        self.line(self.block_queries + row * self.lines)
    }

    /// Weighted values of a row of the tile, `[lines]`.
    pub(super) fn results(&self, row: usize) -> *mut f32 {
        self.line((self.rows + row) * self.lines)
    }

    /// Scores, then weights, of a row of the tile, `[positions of a segment]`.
    pub(super) fn weights(&self, row: usize) -> *mut f32 {
        self.line((self.rows + QUERY_ROWS) * self.lines + row * Self::WEIGHT_LINES)
    }

    fn unit(&self, row: usize) -> *mut f32 {
        self.line((self.rows + QUERY_ROWS) * self.lines + QUERY_ROWS * Self::WEIGHT_LINES)
            .wrapping_add(row)
    }

    /// What the scores of a prepared query are multiplied by.
    ///
    /// # Safety
    ///
    /// The task has the row, and its queries were prepared.
    #[inline(always)]
    pub(super) unsafe fn query_unit(&self, row: usize) -> f32 {
        // SAFETY: a unit of each row stands behind the weights, and was written.
        unsafe { *self.unit(row) }
    }
}

/// The query of a row, which is a head of a token.
#[inline(always)]
fn query<'a>(setting: Setting<'_>, queries: QueryRows<'a>, row: usize) -> &'a [f32] {
    let Dimensions {
        group, head_dim, ..
    } = setting.dimensions;
    let head = setting.task.kv_head * group + row % group;
    &queries.values[row / group * queries.stride + head * head_dim..][..head_dim]
}

/// Asks for the memory of the heads that share the KV head.
#[inline(always)]
fn ask_for(setting: Setting<'_>, queries: QueryRows<'_>) {
    let Dimensions {
        group, head_dim, ..
    } = setting.dimensions;
    for token in 0..setting.dimensions.tokens {
        let row = &queries.values[token * queries.stride..];
        let heads = &row[setting.task.kv_head * group * head_dim..][..group * head_dim];
        for line in heads.chunks(LINE_FLOATS) {
            prefetch(line.as_ptr().cast());
        }
    }
}
