//! Writing keys and values into a block, many tokens at once.

use super::layout::{BLOCK_TOKENS, KvLayout, place};
use super::run::{KvRows, KvRun};
use super::scale::Side;
use super::storage::KvDataMut;
use super::stored::{Stored, write_scale};
use crate::simd::Lanes;

/// Writes the rows of a run to `piece`, the layer's numbers in its block.
///
/// # Safety
///
/// [`KvRun::check`] passed.
#[inline(always)]
pub(crate) unsafe fn store_run<L: Lanes>(
    lanes: L,
    layout: KvLayout,
    rows: KvRows<'_>,
    run: KvRun,
    piece: &mut KvDataMut<'_>,
) {
    // SAFETY: the caller checked the run.
    unsafe {
        match piece {
            KvDataMut::F32(piece) => store_heads(lanes, layout, rows, run, piece),
            KvDataMut::I16(piece) => store_heads(lanes, layout, rows, run, piece),
            KvDataMut::I8(piece) => store_heads(lanes, layout, rows, run, piece),
        }
    }
}

/// # Safety
///
/// As [`store_run`].
#[inline(always)]
unsafe fn store_heads<L: Lanes, S: Stored>(
    lanes: L,
    layout: KvLayout,
    rows: KvRows<'_>,
    run: KvRun,
    piece: &mut [S],
) {
    let heads = piece.chunks_exact_mut(layout.head_elements());
    for (head, piece) in heads.take(layout.kv_heads).enumerate() {
        let begin = run.first_row * rows.stride + head * layout.head_dim;
        let (keys, rest) = piece.split_at_mut(layout.panel_elements());
        let (scales, values) = rest.split_at_mut(rest.len() - layout.panel_elements());
        let mut source = |rows: &'_ [f32], stride, side| {
            let first = &rows[begin..];
            Source {
                first: first.as_ptr(),
                stride,
                factors: factors::<S>((first, stride), (run, layout.head_dim), (scales, side)),
            }
        };
        // SAFETY: the run was checked, so each source has `run.rows` rows of `head_dim`, and each target has
        // the sixteen of a block.
        unsafe {
            let key_rows = source(rows.keys, rows.stride, Side::Key);
            let value_rows = source(rows.values, rows.stride, Side::Value);
            store_keys(lanes, &key_rows, run, layout.head_dim, keys);
            store_values(lanes, &value_rows, run, layout, values);
        }
    }
}

/// Rows of one head.
struct Source {
    first: *const f32,
    stride: usize,
    /// What each row is multiplied by before it is stored.
    factors: [f32; BLOCK_TOKENS],
}

/// The factors of some rows; their inverses, the scales, are written where the format has them.
#[inline(always)]
fn factors<S: Stored>(
    (rows, stride): (&[f32], usize),
    (run, head_dim): (KvRun, usize),
    (scales, side): (&mut [S], Side),
) -> [f32; BLOCK_TOKENS] {
    let mut factors = [1.0; BLOCK_TOKENS];
    if S::HAS_SCALES {
        for (row, factor) in factors[..run.rows].iter_mut().enumerate() {
            let scale = S::scale(&rows[row * stride..][..head_dim], side);
            write_scale(scales, (side, run.position + row), scale.unit);
            *factor = scale.inverse;
        }
    }
    factors
}

/// Keys dimension by dimension.
///
/// # Safety
///
/// There are `run.rows` rows of `head_dim` numbers.
#[inline(always)]
unsafe fn store_keys<L: Lanes, S: Stored>(
    lanes: L,
    rows: &Source,
    run: KvRun,
    head_dim: usize,
    keys: &mut [S],
) {
    let stride = rows.stride;
    let key_place = |token, dimension| place((dimension, token), BLOCK_TOKENS, S::TOGETHER);
    let mut token = 0;
    while token < run.rows {
        let tokens = L::WIDTH.min(run.rows - token);
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            // SAFETY: as many dimensions as `count` and tokens as `tokens` are left of the rows; whole columns
            // go to rows of sixteen that hold as many more.
            unsafe {
                let source = rows.first.add(token * stride + dimension);
                let factors = &rows.factors[token..][..tokens];
                let begin = key_place(run.position + token, dimension);
                if tokens == L::WIDTH && count == L::WIDTH {
                    let target = keys[begin..].as_mut_ptr();
                    let factors = lanes.load(factors.as_ptr());
                    let mut columns = [factors; 2];
                    lanes.for_each_column(source, stride, |column, vector| {
                        columns[column % S::TOGETHER] = S::scaled(lanes, vector, factors);
                        if column % S::TOGETHER == S::TOGETHER - 1 {
                            let row = column / S::TOGETHER * S::TOGETHER * BLOCK_TOKENS;
                            S::store_together(lanes, target.add(row), columns);
                        }
                    });
                } else {
                    for (row, factor) in factors.iter().enumerate() {
                        let source = source.add(row * stride);
                        let numbers = converted(lanes, source, count, *factor);
                        for (index, number) in numbers[..count].iter().enumerate() {
                            keys[key_place(run.position + token + row, dimension + index)] =
                                *number;
                        }
                    }
                }
            }
        }
        token += tokens;
    }
}

/// Values token by token, or as many at once as stand side by side.
///
/// # Safety
///
/// As [`store_keys`].
#[inline(always)]
unsafe fn store_values<L: Lanes, S: Stored>(
    lanes: L,
    rows: &Source,
    run: KvRun,
    layout: KvLayout,
    values: &mut [S],
) {
    let (head_dim, width) = (layout.head_dim, layout.padded_dim());
    let value_place = |token, dimension| place((token, dimension), width, S::TOGETHER);
    let mut token = 0;
    while token < run.rows {
        let position = run.position + token;
        let are_all = position.is_multiple_of(S::TOGETHER) && run.rows - token >= S::TOGETHER;
        let tokens = if are_all { S::TOGETHER } else { 1 };
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            // SAFETY: as many dimensions as `count` and tokens as `tokens` are left of the rows; what stands side by
            // side of whole vectors has its place in the block.
            unsafe {
                let source = |token: usize| rows.first.add(token * rows.stride + dimension);
                if are_all && count == L::WIDTH {
                    let target = &mut values[value_place(position, dimension)..];
                    let vectors = [token, token + S::TOGETHER - 1].map(|token| {
                        let factor = lanes.splat(rows.factors[token]);
                        S::scaled(lanes, lanes.load(source(token)), factor)
                    });
                    S::store_together(lanes, target.as_mut_ptr(), vectors);
                } else {
                    for token in token..token + tokens {
                        let numbers = converted(lanes, source(token), count, rows.factors[token]);
                        for (index, number) in numbers[..count].iter().enumerate() {
                            values[value_place(run.position + token, dimension + index)] = *number;
                        }
                    }
                }
            }
        }
        token += tokens;
    }
}

/// Up to a vector of numbers as they are stored.
///
/// # Safety
///
/// `count` numbers, at most a vector of them, are valid to read.
#[inline(always)]
unsafe fn converted<L: Lanes, S: Stored>(
    lanes: L,
    source: *const f32,
    count: usize,
    factor: f32,
) -> [S; BLOCK_TOKENS] {
    let mut numbers = [S::ZERO; BLOCK_TOKENS];
    // SAFETY: the caller has the numbers; a vector is at most as long as the array.
    unsafe {
        let vector = if count == L::WIDTH {
            lanes.load(source)
        } else {
            lanes.load_partial(source, count)
        };
        let vector = S::scaled(lanes, vector, lanes.splat(factor));
        S::store(lanes, numbers.as_mut_ptr(), vector);
    }
    numbers
}
