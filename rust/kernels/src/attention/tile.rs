//! One segment for the rows of a register tile, in three steps: scores, softmax, weighted values.
//!
//! Scores are queries times keys, results are weights times values; in both, some numbers of each row
//! meet vectors that stand `stride` apart, and every lane of every row is a chain of its own. So
//! what a lane computes does not depend on how many rows and vectors a tile has.

use std::ops::Range;

use super::arithmetic::{Arithmetic, Weights, together, width};
use super::block_scores;
use super::join::{Gathered, Share, join};
use super::layout::{BLOCK_TOKENS, SEGMENT_TOKENS, Side};
use super::multiply::{Panel, multiply};
use super::packing::Packing;
use super::scratch::Scratch;
use super::segment::Seen;
use super::soften::{Softened, mask, soften};
use super::stored::Stored;
use super::walk::Walk;
use crate::simd::Lanes;

/// Blocks that go through all columns of a wide head before the next ones do.
const WIDE_BLOCKS: usize = 4;

/// One segment for some rows.
///
/// # Safety
///
/// The scratch memory is of the walk's setting, which has `ROWS` query rows from `first_row` on.
#[inline(always)]
pub(crate) unsafe fn tile<A: Arithmetic, const ROWS: usize>(
    walk: &mut Walk<'_, '_, A>,
    first_row: usize,
    scratch: &Scratch,
    gathered: &mut Gathered<'_>,
) {
    let seen = Seen::<ROWS>::new(walk.setting, walk.segment.first_position, first_row);
    if seen.some.is_empty() {
        return;
    }
    let head_dim = walk.setting.dimensions.head_dim;
    // SAFETY: each step comes after the one before, and the results of a row, `head_dim` of them, before the slice of them.
    unsafe {
        scores::<A, ROWS>(walk, first_row, seen.blocks(), scratch);
        block_scores::add::<A, ROWS>(walk, first_row, seen.blocks(), scratch);
        let statistics = weights::<A, ROWS>(walk, &seen, scratch);
        values::<A, ROWS>(walk, &seen.some, scratch, &statistics);
        for (row, Statistics { maximum, sum, .. }) in statistics.into_iter().enumerate() {
            let share = Share {
                values: std::slice::from_raw_parts(scratch.results(row), head_dim),
                maximum,
                sum,
            };
            join(walk.arithmetic.lanes(), gathered, first_row + row, share);
        }
    }
}

/// What belongs to a row of a tile as a whole.
#[derive(Clone, Copy)]
struct Statistics {
    /// The highest score.
    maximum: f32,
    /// The sum of the weights.
    sum: f32,
    /// What sums of weighted values are multiplied by.
    unit: f32,
}

/// Scores of every row and block.
///
/// # Safety
///
/// As [`tile`]; the blocks lie in the segment.
#[inline(always)]
unsafe fn scores<A: Arithmetic, const ROWS: usize>(
    walk: &mut Walk<'_, '_, A>,
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
            if width::<A>() == 4 {
                block_scores::<A, ROWS, 4>(walk, first_row, block, scratch)
            } else if width::<A>() == 8 {
                block_scores::<A, ROWS, 2>(walk, first_row, block, scratch)
            } else if left >= 4 {
                block_scores::<A, ROWS, 4>(walk, first_row, block, scratch)
            } else if left >= 2 {
                block_scores::<A, ROWS, 2>(walk, first_row, block, scratch)
            } else {
                block_scores::<A, ROWS, 1>(walk, first_row, block, scratch)
            }
        };
    }
}

/// Turns the scores of every row into weights.
///
/// # Safety
///
/// As [`tile`]; the scores of all blocks were written.
#[inline(always)]
unsafe fn weights<A: Arithmetic, const ROWS: usize>(
    walk: &Walk<'_, '_, A>,
    seen: &Seen<ROWS>,
    scratch: &Scratch,
) -> [Statistics; ROWS] {
    let blocks = seen.blocks();
    let cap = walk.setting.shape.soft_cap;
    let (arithmetic, lanes) = (walk.arithmetic, walk.arithmetic.lanes());
    // SAFETY: scores were written of the blocks that some row sees, and these are among those of the segment.
    unsafe {
        // Step by step for all rows: what follows from one row need not wait for the next step.
        let mut highest = [lanes.splat(f32::NEG_INFINITY); ROWS];
        for (row, highest) in highest.iter_mut().enumerate() {
            *highest = mask(lanes, scratch.weights(row), &blocks, &seen.rows[row], cap);
        }
        let maxima = highest.map(|highest| lanes.maximum(highest));
        let mut softened = [Softened::none(lanes); ROWS];
        for (row, softened) in softened.iter_mut().enumerate() {
            let place = (scratch.weights(row), &seen.rows[row]);
            *softened = soften(lanes, &walk.segment, place, maxima[row]);
        }
        let positions = blocks.start * BLOCK_TOKENS..blocks.end * BLOCK_TOKENS;
        std::array::from_fn(|row| {
            let Softened {
                sum,
                largest,
                total,
            } = softened[row];
            let unit = if <A::Stored as Stored>::HAS_SCALES {
                let known = Weights {
                    largest: lanes.maximum(largest),
                    total: lanes.sum(total),
                };
                arithmetic.prepare_weights(scratch.weights(row), positions.clone(), known)
            } else {
                1.0
            };
            Statistics {
                maximum: maxima[row],
                sum: lanes.sum(sum),
                unit,
            }
        })
    }
}

/// Weighted values of every row and column.
///
/// # Safety
///
/// As [`tile`]; the weights of `seen`, and of the whole blocks around it, were made.
#[inline(always)]
unsafe fn values<A: Arithmetic, const ROWS: usize>(
    walk: &mut Walk<'_, '_, A>,
    seen: &Range<usize>,
    scratch: &Scratch,
    statistics: &[Statistics; ROWS],
) {
    let padded_dim = walk.setting.kv.layout.padded_dim();
    // Sixteen registers of eight lanes hold fewer sums than 32 of four or sixteen.
    let widest = if width::<A>() == 8 { 2 } else { 4 };
    let step = if padded_dim <= widest * width::<A>() {
        SEGMENT_TOKENS
    } else {
        WIDE_BLOCKS * BLOCK_TOKENS
    };
    let begin = seen.start / BLOCK_TOKENS * BLOCK_TOKENS;
    for first in (begin..seen.end).step_by(step) {
        let part = Part {
            tokens: first..seen.end.min(first + step),
            is_first: first == begin,
            is_last: first + step >= seen.end,
        };
        let mut column = 0;
        while column < padded_dim {
            let left = (padded_dim - column) / width::<A>();
            let place = (&part, column);
            // SAFETY: as many whole vectors are left in the head as the instance takes.
            unsafe {
                column += width::<A>()
                    * if left >= 4 && widest == 4 {
                        column_values::<A, ROWS, 4>(walk, place, scratch, statistics)
                    } else if left >= 2 {
                        column_values::<A, ROWS, 2>(walk, place, scratch, statistics)
                    } else {
                        column_values::<A, ROWS, 1>(walk, place, scratch, statistics)
                    };
            }
        }
    }
}

/// Scores of a few blocks, which the vectors cover exactly; how many these were.
///
/// # Safety
///
/// As [`scores`]; as many blocks as the vectors cover lie in the segment.
#[inline(always)]
unsafe fn block_scores<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
    walk: &mut Walk<'_, '_, A>,
    first_row: usize,
    block: usize,
    scratch: &Scratch,
) -> usize {
    let (arithmetic, lanes) = (walk.arithmetic, walk.arithmetic.lanes());
    // SAFETY: keys and scales are those of blocks of the segment, a query and a row of weights those of the tile.
    unsafe {
        let mut sums = [[arithmetic.zero(); VECTORS]; ROWS];
        let queries: [_; ROWS] =
            std::array::from_fn(|row| scratch.query(first_row + row).cast_const());
        let keys: [_; VECTORS] = std::array::from_fn(|vector| {
            let token = vector * width::<A>();
            let panel = walk.segment.keys(block + token / BLOCK_TOKENS);
            A::Keys::planes(token % BLOCK_TOKENS).map(|plane| panel.add(plane))
        });
        let steps = 0..walk.setting.dimensions.head_dim.div_ceil(together::<A>());
        let keys = Panel {
            side: Side::Key,
            vectors: &keys,
            stride: BLOCK_TOKENS * A::Keys::ELEMENTS,
        };
        multiply(
            arithmetic,
            &mut sums,
            &queries,
            &keys,
            (steps, walk.ahead()),
        );
        let mut scores = sums.map(|sums| sums.map(|sum| arithmetic.floats(sum)));
        if <A::Stored as Stored>::HAS_SCALES {
            for vector in 0..VECTORS {
                let token = vector * width::<A>();
                let place = (block + token / BLOCK_TOKENS, token % BLOCK_TOKENS);
                let scales = lanes.load(walk.segment.scales(place.0, Side::Key, place.1));
                for (row, scores) in scores.iter_mut().enumerate() {
                    let unit = lanes.splat(scratch.query_unit(first_row + row));
                    scores[vector] = lanes.mul(lanes.mul(scores[vector], scales), unit);
                }
            }
            let bytes = walk.setting.kv.layout.format.head_scale_bytes();
            if let Some(ahead) = walk.ahead() {
                ahead.advance(VECTORS * width::<A>() / BLOCK_TOKENS * bytes);
            }
        }
        for (row, scores) in scores.into_iter().enumerate() {
            for (vector, score) in scores.into_iter().enumerate() {
                let position = block * BLOCK_TOKENS + vector * width::<A>();
                lanes.store(scratch.weights(row).add(position), score);
            }
        }
    }
    VECTORS * width::<A>() / BLOCK_TOKENS
}

/// Some tokens of a segment, of which some may have gone before and some may follow.
struct Part {
    tokens: Range<usize>,
    is_first: bool,
    is_last: bool,
}

/// Adds the weighted values of some tokens in some columns; how many vectors these were.
///
/// # Safety
///
/// As [`values`], for tokens of the segment; the vectors from `column` on lie inside the head.
#[inline(always)]
unsafe fn column_values<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
    walk: &mut Walk<'_, '_, A>,
    (part, column): (&Part, usize),
    scratch: &Scratch,
    statistics: &[Statistics; ROWS],
) -> usize {
    let (arithmetic, lanes) = (walk.arithmetic, walk.arithmetic.lanes());
    let padded_dim = walk.setting.kv.layout.padded_dim();
    // SAFETY: rows of results are as wide as the head, filled up; the values of a token and the one beside it lie in the
    // panel, and so do their weights in the row: what is not seen weighs nothing.
    unsafe {
        let mut sums = [[arithmetic.zero(); VECTORS]; ROWS];
        let result =
            |row: usize, vector: usize| scratch.results(row).add(column + vector * width::<A>());
        if !part.is_first {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = arithmetic.load_sum(result(row, vector));
                }
            }
        }
        let weights: [_; ROWS] = std::array::from_fn(|row| scratch.weights(row).cast_const());
        for begin in part.tokens.clone().step_by(BLOCK_TOKENS) {
            let panel = walk.segment.values(begin / BLOCK_TOKENS);
            let end = part.tokens.end.min(begin + BLOCK_TOKENS);
            let steps = begin / together::<A>()..end.div_ceil(together::<A>());
            let vectors: [_; VECTORS] = std::array::from_fn(|vector| {
                A::Values::planes(column + vector * width::<A>()).map(|plane| panel.add(plane))
            });
            let values = Panel {
                side: Side::Value,
                vectors: &vectors,
                stride: padded_dim * A::Values::ELEMENTS,
            };
            multiply(
                arithmetic,
                &mut sums,
                &weights,
                &values,
                (steps, walk.ahead()),
            );
        }
        for (row, sums) in sums.into_iter().enumerate() {
            for (vector, sum) in sums.into_iter().enumerate() {
                let target = result(row, vector);
                if part.is_last && <A::Stored as Stored>::HAS_SCALES {
                    let unit = lanes.splat(statistics[row].unit);
                    lanes.store(target, lanes.mul(arithmetic.floats(sum), unit));
                } else {
                    arithmetic.store_sum(target, sum);
                }
            }
        }
    }
    VECTORS
}
