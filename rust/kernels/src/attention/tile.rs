//! One segment for the rows of a register tile: scores, softmax, weighted values.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::join::{Gathered, Share, join};
use super::layout::{BLOCK_TOKENS, SCALE_BYTES};
use super::product::{Ahead, Stored, multiply, multiply_partial};
use super::scale::Side;
use super::scratch::Scratch;
use super::segment::{Seen, Segment};
use super::setting::Setting;
use super::task::SEGMENT_TOKENS;
use crate::simd::{Lanes, exp2, tanh};

/// Blocks that go through all columns of a wide head before the next ones do.
const WIDE_BLOCKS: usize = 4;

/// On the way through a segment.
pub(crate) struct Walk<'a, 'b, L, S> {
    pub(super) lanes: L,
    pub(super) setting: Setting<'a>,
    pub(super) segment: Segment<'b, S>,
    pub(super) ahead: Option<&'a mut Ahead<'b, S>>,
}

/// One segment for some rows.
///
/// # Safety
///
/// The scratch memory is of the walk's setting, which has `ROWS` query rows from `first_row` on.
#[inline(always)]
pub(crate) unsafe fn tile<L: Lanes, S: Stored, const ROWS: usize>(
    walk: &mut Walk<'_, '_, L, S>,
    first_row: usize,
    scratch: &Scratch,
    gathered: &mut Gathered<'_>,
) {
    let seen = Seen::<ROWS>::new(walk.setting, walk.segment.first_position, first_row);
    if seen.some.is_empty() {
        return;
    }
    let blocks = seen.some.start / BLOCK_TOKENS..seen.some.end.div_ceil(BLOCK_TOKENS);
    let cap = walk.setting.shape.soft_cap;
    let head_dim = walk.setting.dimensions.head_dim;
    let lanes = walk.lanes;
    // SAFETY: the blocks that some row sees are among those of the segment; scores come before what reads them, and the
    // results of a row, `head_dim` of them, before the slice of it.
    unsafe {
        all_scores::<L, S, ROWS>(walk, first_row, blocks.clone(), scratch);
        // Step by step for all rows: what follows from one row need not wait for the next step.
        let mut highest = [lanes.splat(f32::NEG_INFINITY); ROWS];
        for (row, highest) in highest.iter_mut().enumerate() {
            *highest = mask(lanes, scratch.weights(row), &blocks, &seen.rows[row], cap);
        }
        let mut maxima = [f32::NEG_INFINITY; ROWS];
        for (maximum, highest) in maxima.iter_mut().zip(highest) {
            *maximum = lanes.maximum(highest);
        }
        let mut sums = [lanes.splat(0.0); ROWS];
        for (row, sum) in sums.iter_mut().enumerate() {
            let place = (scratch.weights(row), &seen.rows[row]);
            *sum = soften(lanes, &walk.segment, place, maxima[row]);
        }
        let mut totals = [0.0; ROWS];
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total = lanes.sum(sum);
        }
        all_values::<L, S, ROWS>(walk, &seen.some, scratch);
        for row in 0..ROWS {
            let share = Share {
                values: std::slice::from_raw_parts(scratch.results(row), head_dim),
                maximum: maxima[row],
                sum: totals[row],
            };
            join(lanes, gathered, first_row + row, share);
        }
    }
}

/// Scores of every row and block.
///
/// # Safety
///
/// As [`tile`]; the blocks lie in the segment.
#[inline(always)]
unsafe fn all_scores<L: Lanes, S: Stored, const ROWS: usize>(
    walk: &mut Walk<'_, '_, L, S>,
    first_row: usize,
    blocks: Range<usize>,
    scratch: &Scratch,
) {
    let mut block = blocks.start;
    while block < blocks.end {
        let left = blocks.end - block;
        // SAFETY: as many blocks are left as the instance takes; four vectors of four lanes, or two of eight,
        // are one block.
        block += unsafe {
            if L::WIDTH == 4 {
                scores::<L, S, ROWS, 4>(walk, first_row, block, scratch)
            } else if L::WIDTH == 8 {
                scores::<L, S, ROWS, 2>(walk, first_row, block, scratch)
            } else if left >= 4 {
                scores::<L, S, ROWS, 4>(walk, first_row, block, scratch)
            } else if left >= 2 {
                scores::<L, S, ROWS, 2>(walk, first_row, block, scratch)
            } else {
                scores::<L, S, ROWS, 1>(walk, first_row, block, scratch)
            }
        };
    }
}

/// Scores of a few blocks, which the vectors cover exactly; how many these were.
///
/// # Safety
///
/// As [`tile`]; as many blocks as the vectors cover lie in the segment.
#[inline(always)]
unsafe fn scores<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    walk: &mut Walk<'_, '_, L, S>,
    first_row: usize,
    block: usize,
    scratch: &Scratch,
) -> usize {
    let lanes = walk.lanes;
    // SAFETY: keys and scales are those of blocks of the segment, a query and a row of weights those of the tile.
    unsafe {
        let mut sums = [[lanes.splat(0.0); VECTORS]; ROWS];
        let queries: [_; ROWS] =
            std::array::from_fn(|row| scratch.query(first_row + row).cast_const());
        let keys: [_; VECTORS] = std::array::from_fn(|vector| {
            let token = vector * L::WIDTH;
            walk.segment
                .keys(block + token / BLOCK_TOKENS)
                .add(token % BLOCK_TOKENS)
        });
        let head_dim = walk.setting.dimensions.head_dim;
        let (keys, ahead) = ((&keys, BLOCK_TOKENS), walk.ahead.as_deref_mut());
        multiply(lanes, &mut sums, &queries, keys, (head_dim, ahead));
        if S::HAS_SCALES {
            for vector in 0..VECTORS {
                let token = vector * L::WIDTH;
                let place = (block + token / BLOCK_TOKENS, token % BLOCK_TOKENS);
                let scales = lanes.load(walk.segment.scales(place.0, Side::Key, place.1));
                for sums in &mut sums {
                    sums[vector] = lanes.mul(sums[vector], scales);
                }
            }
            if let Some(ahead) = &mut walk.ahead {
                ahead.advance(VECTORS * L::WIDTH / BLOCK_TOKENS * SCALE_BYTES);
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let position = block * BLOCK_TOKENS + vector * L::WIDTH;
                lanes.store(scratch.weights(row).add(position), sum);
            }
        }
    }
    VECTORS * L::WIDTH / BLOCK_TOKENS
}

/// The scores of what a row sees, and 0 for what it does not; the highest one by lane.
///
/// # Safety
///
/// `weights` is a row of scratch memory, with a place for every position of a segment.
#[inline(always)]
unsafe fn mask<L: Lanes>(
    lanes: L,
    weights: *mut f32,
    blocks: &Range<usize>,
    seen: &Range<usize>,
    cap: Option<f32>,
) -> L::Vector {
    let (begin, end) = (blocks.start * BLOCK_TOKENS, blocks.end * BLOCK_TOKENS);
    // SAFETY: whole vectors around what is seen lie in the blocks, since a vector divides one, and these in the row.
    unsafe {
        let mut highest = lanes.splat(f32::NEG_INFINITY);
        if seen.is_empty() {
            fill_zero(lanes, weights, begin, end);
            return highest;
        }
        let (first, last) = whole_vectors::<L>(seen);
        fill_zero(lanes, weights, begin, first);
        fill_zero(lanes, weights, last, end);
        if let Some(cap) = cap {
            for position in (first..last).step_by(L::WIDTH) {
                let score = tanh(lanes, lanes.load(weights.add(position)));
                lanes.store(
                    weights.add(position),
                    lanes.mul(score, lanes.splat(cap * LOG2_E)),
                );
            }
        }
        if first < seen.start {
            let score = lanes.load(weights.add(first));
            let score = lanes.mask_range(score, seen.start - first, L::WIDTH);
            lanes.store(weights.add(first), score);
        }
        if seen.end < last {
            let score = lanes.load(weights.add(last - L::WIDTH));
            let score = lanes.mask_range(score, 0, seen.end + L::WIDTH - last);
            lanes.store(weights.add(last - L::WIDTH), score);
        }
        for position in (first..last).step_by(L::WIDTH) {
            highest = lanes.max(highest, lanes.load(weights.add(position)));
        }
        highest
    }
}

/// Turns the scores of what a row sees into weights under their maximum; the sum of these by lane.
/// What is kept of a weight is its product with the scale of its value.
///
/// # Safety
///
/// As [`mask`].
#[inline(always)]
unsafe fn soften<L: Lanes, S: Stored>(
    lanes: L,
    segment: &Segment<'_, S>,
    (weights, seen): (*mut f32, &Range<usize>),
    maximum: f32,
) -> L::Vector {
    let (first, last) = whole_vectors::<L>(seen);
    // SAFETY: whole vectors around what is seen lie in the row, and their scales in the block of their first token.
    unsafe {
        let mut sum = lanes.splat(0.0);
        if !seen.is_empty() {
            for position in (first..last).step_by(L::WIDTH) {
                let score = lanes.load(weights.add(position));
                let weight = exp2(lanes, lanes.sub(score, lanes.splat(maximum)));
                sum = lanes.add(sum, weight);
                let kept = if S::HAS_SCALES {
                    let place = (position / BLOCK_TOKENS, position % BLOCK_TOKENS);
                    lanes.mul(
                        weight,
                        lanes.load(segment.scales(place.0, Side::Value, place.1)),
                    )
                } else {
                    weight
                };
                lanes.store(weights.add(position), kept);
            }
        }
        sum
    }
}

/// Where the vectors that hold some positions begin and end.
#[inline(always)]
fn whole_vectors<L: Lanes>(seen: &Range<usize>) -> (usize, usize) {
    (
        seen.start / L::WIDTH * L::WIDTH,
        seen.end.next_multiple_of(L::WIDTH),
    )
}

/// Whole vectors of 0.
///
/// # Safety
///
/// As [`mask`]; `begin` and `end` are whole vectors of a segment.
#[inline(always)]
unsafe fn fill_zero<L: Lanes>(lanes: L, weights: *mut f32, begin: usize, end: usize) {
    for position in (begin..end).step_by(L::WIDTH) {
        // SAFETY: a whole vector before `end`, which lies in the row.
        unsafe { lanes.store(weights.add(position), lanes.splat(0.0)) };
    }
}

/// Weighted values of every row and column.
///
/// # Safety
///
/// As [`tile`]; the weights of `seen`, and of the whole blocks around it, were written.
#[inline(always)]
unsafe fn all_values<L: Lanes, S: Stored, const ROWS: usize>(
    walk: &mut Walk<'_, '_, L, S>,
    seen: &Range<usize>,
    scratch: &Scratch,
) {
    let head_dim = walk.setting.dimensions.head_dim;
    // Sixteen registers of eight lanes hold fewer sums than 32 of four or sixteen.
    let widest = if L::WIDTH == 8 { 2 } else { 4 };
    let step = if head_dim <= widest * L::WIDTH {
        SEGMENT_TOKENS
    } else {
        WIDE_BLOCKS * BLOCK_TOKENS
    };
    let mut begin = seen.start / BLOCK_TOKENS * BLOCK_TOKENS;
    let mut first = true;
    while begin < seen.end {
        let tokens = begin..seen.end.min(begin + step);
        let mut column = 0;
        while column < head_dim {
            let place = (column, first);
            let left = (head_dim - column) / L::WIDTH;
            // SAFETY: as many whole vectors are left in the head as the instance takes; one that is not whole
            // goes alone.
            unsafe {
                column += L::WIDTH
                    * if left >= 4 && widest == 4 {
                        values::<L, S, ROWS, 4>(walk, tokens.clone(), place, scratch)
                    } else if left >= 2 {
                        values::<L, S, ROWS, 2>(walk, tokens.clone(), place, scratch)
                    } else {
                        values::<L, S, ROWS, 1>(walk, tokens.clone(), place, scratch)
                    };
            }
        }
        begin += step;
        first = false;
    }
}

/// Adds the weighted values of some tokens in some columns; how many vectors these were.
///
/// # Safety
///
/// As [`all_values`], for tokens of it; the vectors from `column` on begin inside the head.
#[inline(always)]
unsafe fn values<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    walk: &mut Walk<'_, '_, L, S>,
    tokens: Range<usize>,
    (column, first): (usize, bool),
    scratch: &Scratch,
) -> usize {
    let (lanes, head_dim) = (walk.lanes, walk.setting.dimensions.head_dim);
    // SAFETY: rows of results are whole cache lines, so a vector that begins inside the head has its place
    // there; of the
    // cache no more than the head's numbers are read, `count` of them in a vector that is not whole.
    unsafe {
        let mut sums = [[lanes.splat(0.0); VECTORS]; ROWS];
        if !first {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = lanes.load(scratch.results(row).add(column + vector * L::WIDTH));
                }
            }
        }
        for begin in tokens.clone().step_by(BLOCK_TOKENS) {
            let panel = walk.segment.values(begin / BLOCK_TOKENS);
            let steps = BLOCK_TOKENS.min(tokens.end - begin);
            let weights: [_; ROWS] =
                std::array::from_fn(|row| scratch.weights(row).add(begin).cast_const());
            let vectors: [_; VECTORS] =
                std::array::from_fn(|vector| panel.add(column + vector * L::WIDTH));
            let panel = (&vectors, head_dim);
            if head_dim - column < L::WIDTH {
                let count = head_dim - column;
                multiply_partial(lanes, &mut sums, &weights, panel, (steps, count));
            } else {
                let ahead = walk.ahead.as_deref_mut();
                multiply(lanes, &mut sums, &weights, panel, (steps, ahead));
            }
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                lanes.store(scratch.results(row).add(column + vector * L::WIDTH), sum);
            }
        }
    }
    VECTORS
}
