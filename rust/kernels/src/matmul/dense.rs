//! Dense weights times f32 activations: a lane is an output row, activations are broadcast.
//!
//! Quantized tiles are decoded to f32 first: the exact path. Even and odd inputs are added apart
//! and joined at the end, for every number of tokens, so a token's result does not depend on them.

use super::output::OutputTile;
use super::rows::{FloatRows, TileRange};
use crate::simd::Lanes;
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS, TileBlock};

/// The tile's weights as the inner loop reads them.
#[derive(Clone, Copy)]
enum Weights {
    Float(*const f32),
    Half(*const u16),
    Bfloat(*const u16),
}

/// Decodes a quantized tile to `[columns, 16]`.
pub(crate) fn decode_tile(matrix: &PackedMatrix, tile: usize, output: &mut Vec<f32>) {
    let Elements::Quantized(layout) = matrix.elements() else {
        return;
    };
    output.resize(matrix.columns() * TILE_ROWS, 0.0);
    let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
    for (block, target) in output
        .chunks_exact_mut(BLOCK_INPUTS * TILE_ROWS)
        .enumerate()
    {
        let view = TileBlock::new(layout, values, scales, block);
        for lane in 0..TILE_ROWS {
            for group in 0..layout.groups() {
                let (scale, minimum) = view.scale(lane, group);
                for input in group * layout.group..(group + 1) * layout.group {
                    let integer = f32::from(view.integer(lane, input)) - f32::from(layout.zero);
                    target[input * TILE_ROWS + lane] = scale * integer + minimum;
                }
            }
        }
    }
}

/// Multiplies the range.
///
/// # Safety
///
/// `output` has the range's length, the range lies inside matrix and rows, and both have the same number of columns
/// (`check_product`).
#[inline(always)]
pub(crate) unsafe fn multiply<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    rows: FloatRows<'_>,
    range: &TileRange,
    output: &mut OutputTile<'_>,
) {
    let mut decoded = Vec::new();
    for (index, tile) in range.tiles.clone().enumerate() {
        let stored = matrix.tile_values(tile).as_ptr();
        let weights = match matrix.elements() {
            Elements::Float => Weights::Float(stored.cast()),
            Elements::Half => Weights::Half(stored.cast()),
            Elements::Bfloat => Weights::Bfloat(stored.cast()),
            Elements::Quantized(_) => {
                decode_tile(matrix, tile, &mut decoded);
                Weights::Float(decoded.as_ptr())
            }
        };
        let mut token = range.tokens.start;
        while token < range.tokens.end {
            let inputs = rows.values[token * rows.columns..].as_ptr();
            // SAFETY: the caller checked that token and tile lie in the range, whose size the output has.
            let target = unsafe {
                let row = (token - range.tokens.start) * output.stride();
                output.as_mut_ptr().add(row + index * TILE_ROWS)
            };
            let task = DenseTile {
                weights,
                inputs,
                columns: rows.columns,
                target,
                stride: output.stride(),
                lanes: TILE_ROWS.min(output.columns() - index * TILE_ROWS),
                adds: output.adds(),
            };
            // SAFETY: the pointers stand at the token and the tile, and as many tokens are left as the instance takes.
            unsafe {
                token += match range.tokens.end - token {
                    // Two sums a token have to fit the registers.
                    8.. if L::WIDTH == 16 => some_tokens::<L, 8>(lanes, task),
                    4.. => some_tokens::<L, 4>(lanes, task),
                    2.. => some_tokens::<L, 2>(lanes, task),
                    _ => some_tokens::<L, 1>(lanes, task),
                };
            }
        }
    }
}

#[derive(Clone, Copy)]
struct DenseTile {
    weights: Weights,
    inputs: *const f32,
    columns: usize,
    target: *mut f32,
    stride: usize,
    /// Rows that the tile has.
    lanes: usize,
    adds: bool,
}

/// # Safety
///
/// `TOKENS` rows of inputs and of the output stand behind the tile's pointers, and 16 weights for each input.
#[inline(always)]
unsafe fn some_tokens<L: Lanes, const TOKENS: usize>(lanes: L, task: DenseTile) -> usize {
    // SAFETY: WIDTH divides 16, so a vector of weights lies in its input's 16; `dot` asks for inputs below
    // `columns`; what
    // is written are the tile's rows of the tokens that the caller has room for.
    unsafe {
        for part in (0..TILE_ROWS).step_by(L::WIDTH) {
            let sums = match task.weights {
                Weights::Float(weights) => dot::<L, TOKENS>(lanes, task, |input| {
                    lanes.load(weights.add(input * TILE_ROWS + part))
                }),
                Weights::Half(weights) => dot::<L, TOKENS>(lanes, task, |input| {
                    lanes.load_half(weights.add(input * TILE_ROWS + part))
                }),
                Weights::Bfloat(weights) => dot::<L, TOKENS>(lanes, task, |input| {
                    lanes.load_bfloat(weights.add(input * TILE_ROWS + part))
                }),
            };
            let count = task.lanes.saturating_sub(part).min(L::WIDTH);
            for (token, mut sum) in sums.into_iter().enumerate() {
                let target = task.target.add(token * task.stride + part);
                if count == 0 {
                    break;
                }
                if task.adds {
                    sum = lanes.add(lanes.load_partial(target, count), sum);
                }
                lanes.store_partial(target, sum, count);
            }
        }
    }
    TOKENS
}

/// # Safety
///
/// `TOKENS` rows of `columns` inputs stand behind the tile's pointer.
#[inline(always)]
unsafe fn dot<L: Lanes, const TOKENS: usize>(
    lanes: L,
    task: DenseTile,
    weights: impl Fn(usize) -> L::Vector,
) -> [L::Vector; TOKENS] {
    // SAFETY: every input read is below `columns` in one of the caller's rows.
    unsafe {
        let mut even = [lanes.splat(0.0); TOKENS];
        let mut odd = [lanes.splat(0.0); TOKENS];
        let mut input = 0;
        while input + 2 <= task.columns {
            let (first, second) = (weights(input), weights(input + 1));
            for token in 0..TOKENS {
                let inputs = task.inputs.add(token * task.columns + input);
                even[token] = lanes.fma(first, lanes.splat(*inputs), even[token]);
                odd[token] = lanes.fma(second, lanes.splat(*inputs.add(1)), odd[token]);
            }
            input += 2;
        }
        if input < task.columns {
            let last = weights(input);
            for (token, even) in even.iter_mut().enumerate() {
                *even = lanes.fma(
                    last,
                    lanes.splat(*task.inputs.add(token * task.columns + input)),
                    *even,
                );
            }
        }
        std::array::from_fn(|token| lanes.add(even[token], odd[token]))
    }
}
