//! Writing keys and values into a block, many tokens at once.

use super::layout::{BLOCK_TOKENS, KvLayout};
use super::product::Stored;
use super::run::{KvRows, KvRun};
use super::scale::{Scale, Side};
use super::storage::KvDataMut;
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
            KvDataMut::F16(piece) => store_heads(lanes, layout, rows, run, piece),
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
            store_values(lanes, &value_rows, run, layout.head_dim, values);
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
            let scale = Scale::of(&rows[row * stride..][..head_dim]);
            S::write_scale(scales, side.place(run.position + row), scale.unit);
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
    let mut token = 0;
    while token < run.rows {
        let together = L::WIDTH.min(run.rows - token);
        for dimension in (0..head_dim).step_by(L::WIDTH) {
            let count = L::WIDTH.min(head_dim - dimension);
            let begin = dimension * BLOCK_TOKENS + run.position + token;
            // SAFETY: as many dimensions as `count` and tokens as `together` are left of the rows; whole columns
            // go to rows of sixteen that hold `together` more.
            unsafe {
                let source = rows.first.add(token * stride + dimension);
                let factors = &rows.factors[token..][..together];
                if together == L::WIDTH && count == L::WIDTH {
                    let target = keys[begin..].as_mut_ptr();
                    let factors = lanes.load(factors.as_ptr());
                    lanes.for_each_column(source, stride, |column, vector| {
                        let vector = scaled::<L, S>(lanes, vector, factors);
                        S::store(lanes, target.add(column * BLOCK_TOKENS), vector);
                    });
                } else {
                    for (row, factor) in factors.iter().enumerate() {
                        let source = source.add(row * stride);
                        let numbers = converted(lanes, source, count, *factor);
                        let targets = keys[begin + row..].iter_mut().step_by(BLOCK_TOKENS);
                        for (target, number) in targets.zip(&numbers[..count]) {
                            *target = *number;
                        }
                    }
                }
            }
        }
        token += together;
    }
}

/// Values token by token.
///
/// # Safety
///
/// As [`store_keys`].
#[inline(always)]
unsafe fn store_values<L: Lanes, S: Stored>(
    lanes: L,
    rows: &Source,
    run: KvRun,
    head_dim: usize,
    values: &mut [S],
) {
    for (token, factor) in rows.factors[..run.rows].iter().enumerate() {
        let target = &mut values[(run.position + token) * head_dim..][..head_dim];
        for (index, target) in target.chunks_mut(L::WIDTH).enumerate() {
            // SAFETY: source and target have as many numbers left as the chunk.
            unsafe {
                let source = rows.first.add(token * rows.stride + index * L::WIDTH);
                if target.len() == L::WIDTH {
                    let vector = scaled::<L, S>(lanes, lanes.load(source), lanes.splat(*factor));
                    S::store(lanes, target.as_mut_ptr(), vector);
                } else {
                    let numbers = converted(lanes, source, target.len(), *factor);
                    target.copy_from_slice(&numbers[..target.len()]);
                }
            }
        }
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
        let vector = scaled::<L, S>(lanes, vector, lanes.splat(factor));
        S::store(lanes, numbers.as_mut_ptr(), vector);
    }
    numbers
}

/// A vector in the unit in which it is stored.
#[inline(always)]
fn scaled<L: Lanes, S: Stored>(lanes: L, vector: L::Vector, factors: L::Vector) -> L::Vector {
    if S::HAS_SCALES {
        lanes.mul(vector, factors)
    } else {
        vector
    }
}
