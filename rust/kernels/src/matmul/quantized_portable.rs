//! Packed integers times 8-bit activations in plain loops over the sixteen rows of a tile.
//!
//! The same sum as the versions by hand, laid out so that the compiler vectorizes it for the
//! baseline of the target: unpack a block once, then one multiply-add of sixteen lanes an input.

use super::rows::{QuantizedRows, TileRange};
use crate::pack::{BLOCK_INPUTS, Elements, PackedMatrix, QuantLayout, TILE_ROWS, TileBlock};

type Lanes = [f32; TILE_ROWS];

/// Tokens that share an unpacked block.
const TOKENS: usize = 8;

/// Multiplies the range; `false` where the matrix is not quantized.
///
/// # Safety
///
/// None is needed; the signature is that of the versions by hand.
pub(crate) unsafe fn multiply(
    matrix: &PackedMatrix,
    rows: &QuantizedRows,
    range: &TileRange,
    output: &mut [f32],
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    let stride = range.output_stride();
    for (index, tile) in range.tiles.clone().enumerate() {
        for first in range.tokens.clone().step_by(TOKENS) {
            let count = TOKENS.min(range.tokens.end - first);
            let sums = some_tokens((matrix, layout, tile), rows, first, count);
            for (token, sum) in sums.iter().enumerate().take(count) {
                let begin = (first - range.tokens.start + token) * stride + index * TILE_ROWS;
                output[begin..begin + TILE_ROWS].copy_from_slice(sum);
            }
        }
    }
    true
}

fn some_tokens(
    (matrix, layout, tile): (&PackedMatrix, QuantLayout, usize),
    rows: &QuantizedRows,
    first: usize,
    count: usize,
) -> [Lanes; TOKENS] {
    let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
    let mut sums = [[0.0; TILE_ROWS]; TOKENS];
    let mut weights = [[0i16; TILE_ROWS]; BLOCK_INPUTS];
    for (block, packed) in values.chunks_exact(layout.block_bytes()).enumerate() {
        unpack(layout, packed, &mut weights);
        let view = TileBlock::new(layout, values, scales, block);
        for group in 0..layout.groups() {
            let (scale, minimum) = group_scales(&view, group);
            for (offset, sum) in sums.iter_mut().enumerate().take(count) {
                let position = (first + offset) * rows.blocks() + block;
                let quants = &rows.quants[position * BLOCK_INPUTS..][..BLOCK_INPUTS];
                let inputs = group * layout.group..(group + 1) * layout.group;
                let dot = dot(&weights[inputs.clone()], &quants[inputs]);
                let activation = rows.scales[position];
                let total = if layout.groups() == 1 {
                    rows.block_sums[position]
                } else {
                    rows.half_sums[2 * position + group]
                };
                for lane in 0..TILE_ROWS {
                    sum[lane] +=
                        scale[lane] * activation * dot[lane] as f32 + minimum[lane] * total;
                }
            }
        }
    }
    sums
}

/// Integers less their zero point, an input a row.
fn unpack(layout: QuantLayout, packed: &[u8], weights: &mut [[i16; TILE_ROWS]; BLOCK_INPUTS]) {
    let zero = i16::from(layout.zero);
    for (vector, bytes) in packed.as_chunks::<64>().0.iter().enumerate() {
        for lane in 0..TILE_ROWS {
            for byte in 0..4 {
                let value = bytes[lane * 4 + byte];
                let input = 4 * vector + byte;
                if layout.bits == 4 {
                    weights[input][lane] = i16::from(value & 15) - zero;
                    weights[input + 16][lane] = i16::from(value >> 4) - zero;
                } else {
                    weights[input][lane] = i16::from(value) - zero;
                }
            }
        }
    }
}

fn group_scales(view: &TileBlock<'_>, group: usize) -> (Lanes, Lanes) {
    let (mut scales, mut minimums) = ([0.0; TILE_ROWS], [0.0; TILE_ROWS]);
    for lane in 0..TILE_ROWS {
        (scales[lane], minimums[lane]) = view.scale(lane, group);
    }
    (scales, minimums)
}

fn dot(weights: &[[i16; TILE_ROWS]], quants: &[i8]) -> [i32; TILE_ROWS] {
    let mut sums = [0i32; TILE_ROWS];
    for (weights, quant) in weights.iter().zip(quants) {
        let quant = i16::from(*quant);
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += i32::from(*weight) * i32::from(quant);
        }
    }
    sums
}
