//! Flash-style attention over KV blocks: one pass, running maximum and sum, no score matrix.
//!
//! Query rows (tokens times the heads that share the KV head) go through the blocks up to eight
//! together, so a key or value is loaded and widened once for all of them. What a row computes
//! does not depend on the rows beside it: a block of which it sees nothing leaves it untouched.

use super::{AttentionShape, AttentionTask, BLOCK_TOKENS, Dimensions, KvData, KvView, visible};
use crate::simd::{Lanes, exp, tanh};

/// The element type of the cache.
trait Stored: Copy {
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector;
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_partial(source, count) }
    }
}

impl Stored for u16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_half(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_half_partial(source, count) }
    }
}

/// Attends for every query row; `output` is `[tokens, group, head_dim]`.
///
/// # Safety
///
/// Needs the instruction set of `L`; the task was checked and `output` has its size.
#[inline(always)]
pub(crate) unsafe fn attend<L: Lanes>(
    kv: &KvView<'_>,
    shape: &AttentionShape,
    task: &AttentionTask<'_>,
    dimensions: Dimensions,
    output: &mut [f32],
) {
    // SAFETY: the caller's.
    unsafe {
        match kv.data {
            KvData::F32(data) => attend_stored::<L, f32>(
                data,
                &Setting {
                    kv,
                    shape,
                    task,
                    dimensions,
                },
                output,
            ),
            KvData::F16(data) => attend_stored::<L, u16>(
                data,
                &Setting {
                    kv,
                    shape,
                    task,
                    dimensions,
                },
                output,
            ),
        }
    }
}

struct Setting<'a> {
    kv: &'a KvView<'a>,
    shape: &'a AttentionShape,
    task: &'a AttentionTask<'a>,
    dimensions: Dimensions,
}

impl Setting<'_> {
    fn query(&self, row: usize) -> *const f32 {
        let Dimensions {
            group,
            head_dim,
            width,
            ..
        } = self.dimensions;
        let head = self.task.kv_head * group + row % group;
        self.task.queries[row / group * width + head * head_dim..][..head_dim].as_ptr()
    }

    fn visible(&self, row: usize) -> std::ops::Range<usize> {
        visible(
            self.task.first_position + row / self.dimensions.group,
            self.shape.window,
        )
    }
}

#[inline(always)]
unsafe fn attend_stored<L: Lanes, S: Stored>(
    data: &[S],
    setting: &Setting<'_>,
    output: &mut [f32],
) {
    let Dimensions {
        tokens,
        group,
        head_dim,
        ..
    } = setting.dimensions;
    let rows = tokens * group;
    let mut row = 0;
    while row < rows {
        let target = &mut output[row * head_dim..];
        // SAFETY: the caller's; `row` and what the instance takes stay below `rows`.
        unsafe {
            row += match rows - row {
                8.. => some_rows::<L, S, 8>(data, setting, row, target),
                4.. => some_rows::<L, S, 4>(data, setting, row, target),
                2.. => some_rows::<L, S, 2>(data, setting, row, target),
                _ => some_rows::<L, S, 1>(data, setting, row, target),
            };
        }
    }
}

/// The running softmax of each row.
struct Running<const ROWS: usize> {
    maximum: [f32; ROWS],
    sum: [f32; ROWS],
    /// Weights of the current block.
    weights: [[f32; BLOCK_TOKENS]; ROWS],
    /// Factor on what was summed before the current block.
    correction: [f32; ROWS],
}

#[inline(always)]
unsafe fn some_rows<L: Lanes, S: Stored, const ROWS: usize>(
    data: &[S],
    setting: &Setting<'_>,
    first_row: usize,
    output: &mut [f32],
) -> usize {
    let head_dim = setting.dimensions.head_dim;
    let queries: [*const f32; ROWS] = std::array::from_fn(|row| setting.query(first_row + row));
    let seen: [_; ROWS] = std::array::from_fn(|row| setting.visible(first_row + row));
    let begin = seen.iter().map(|range| range.start).min().unwrap_or(0);
    let end = seen.iter().map(|range| range.end).max().unwrap_or(0);
    let output = &mut output[..ROWS * head_dim];
    output.fill(0.0);
    let mut running = Running {
        maximum: [f32::NEG_INFINITY; ROWS],
        sum: [0.0; ROWS],
        weights: [[0.0; BLOCK_TOKENS]; ROWS],
        correction: [1.0; ROWS],
    };
    for block_index in begin / BLOCK_TOKENS..end.div_ceil(BLOCK_TOKENS) {
        let block = setting.task.block_table[block_index];
        let layout = setting.kv.layout;
        let keys =
            data[layout.key_offset(block, setting.task.layer, setting.task.kv_head)..].as_ptr();
        let values =
            data[layout.value_offset(block, setting.task.layer, setting.task.kv_head)..].as_ptr();
        let first = block_index * BLOCK_TOKENS;
        // SAFETY: the check made sure that the block lies in the pool; keys and values of a head
        // are `16 * head_dim` numbers.
        unsafe {
            let mut masks = [(0, 0); ROWS];
            for (mask, range) in masks.iter_mut().zip(&seen) {
                *mask = (
                    range.start.max(first) - first,
                    range.end.clamp(first, first + BLOCK_TOKENS) - first,
                );
            }
            score_block::<L, S, ROWS>(keys, setting, &queries, &mut running, &masks);
            let filled = end.min(first + BLOCK_TOKENS) - first;
            add_values::<L, S, ROWS>(values, (head_dim, filled), &running, output);
        }
    }
    for (row, sum) in output.chunks_exact_mut(head_dim).zip(running.sum) {
        for value in row {
            *value /= sum;
        }
    }
    ROWS
}

/// Scores of a block's tokens, and the running softmax moved on.
#[inline(always)]
unsafe fn score_block<L: Lanes, S: Stored, const ROWS: usize>(
    keys: *const S,
    setting: &Setting<'_>,
    queries: &[*const f32; ROWS],
    running: &mut Running<ROWS>,
    masks: &[(usize, usize); ROWS],
) {
    // SAFETY: the caller's.
    unsafe {
        let mut highest = [f32::NEG_INFINITY; ROWS];
        for part in (0..BLOCK_TOKENS).step_by(L::WIDTH) {
            let mut scores = [L::splat(0.0); ROWS];
            for dimension in 0..setting.dimensions.head_dim {
                let key = S::load::<L>(keys.add(dimension * BLOCK_TOKENS + part));
                for (score, query) in scores.iter_mut().zip(queries) {
                    *score = L::fma(L::splat(*query.add(dimension)), key, *score);
                }
            }
            for (row, score) in scores.into_iter().enumerate() {
                let mut score = L::mul(score, L::splat(setting.shape.scale));
                if let Some(cap) = setting.shape.soft_cap {
                    score = L::mul(tanh::<L>(L::mul(score, L::splat(1.0 / cap))), L::splat(cap));
                }
                let (begin, end) = masks[row];
                let begin = begin.clamp(part, part + L::WIDTH) - part;
                let end = end.clamp(part, part + L::WIDTH) - part;
                let score = L::mask_range(score, begin, end.max(begin));
                L::store(running.weights[row][part..].as_mut_ptr(), score);
                highest[row] = highest[row].max(L::maximum(score));
            }
        }
        for (row, highest) in highest.into_iter().enumerate() {
            advance_row::<L, ROWS>(running, row, highest);
        }
    }
}

/// Turns a row's scores into weights under the new maximum.
#[inline(always)]
unsafe fn advance_row<L: Lanes, const ROWS: usize>(
    running: &mut Running<ROWS>,
    row: usize,
    highest: f32,
) {
    let weights = &mut running.weights[row];
    running.correction[row] = 1.0;
    if highest == f32::NEG_INFINITY {
        weights.fill(0.0);
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        if highest > running.maximum[row] {
            let change = L::splat(running.maximum[row] - highest);
            let mut lanes = [0.0; BLOCK_TOKENS];
            L::store(lanes.as_mut_ptr(), exp::<L>(change));
            running.correction[row] = lanes[0];
            running.maximum[row] = highest;
        }
        let maximum = L::splat(running.maximum[row]);
        let mut sum = L::splat(0.0);
        for part in (0..BLOCK_TOKENS).step_by(L::WIDTH) {
            let pointer = weights[part..].as_mut_ptr();
            let weight = exp::<L>(L::sub(L::load(pointer), maximum));
            L::store(pointer, weight);
            sum = L::add(sum, weight);
        }
        running.sum[row] = running.sum[row] * running.correction[row] + L::sum(sum);
    }
}

/// Adds the block's values, weighted.
#[inline(always)]
unsafe fn add_values<L: Lanes, S: Stored, const ROWS: usize>(
    values: *const S,
    (head_dim, filled): (usize, usize),
    running: &Running<ROWS>,
    output: &mut [f32],
) {
    // SAFETY: the caller's; partial loads and stores keep to the head.
    unsafe {
        let base = output.as_mut_ptr();
        for begin in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - begin);
            let whole = count == L::WIDTH;
            let target = |row: usize| base.add(row * head_dim + begin);
            let mut sums: [L::Vector; ROWS] = std::array::from_fn(|row| {
                let before = if whole {
                    L::load(target(row))
                } else {
                    L::load_partial(target(row), count)
                };
                L::mul(before, L::splat(running.correction[row]))
            });
            for token in 0..filled {
                let source = values.add(token * head_dim + begin);
                let value = if whole {
                    S::load::<L>(source)
                } else {
                    S::load_partial::<L>(source, count)
                };
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = L::fma(L::splat(running.weights[row][token]), value, *sum);
                }
            }
            for (row, sum) in sums.into_iter().enumerate() {
                if whole {
                    L::store(target(row), sum);
                } else {
                    L::store_partial(target(row), sum, count);
                }
            }
        }
    }
}
