//! Packed integers times 8-bit activations in plain loops over the sixteen rows of a tile.
//!
//! The same sum as the versions by hand, laid out so that the compiler vectorizes it for the
//! baseline of the target: unpack a block once, then one multiply-add of sixteen lanes an input.

use super::output::OutputTile;
use super::rows::{QuantizedRows, TileRange};
use crate::quant::coding::Codebook;
use crate::weights::{
    BLOCK_INPUTS, Elements, PackedMatrix, QuantLayout, TILE_ROWS, TileBlock, VECTOR_BYTES,
    high_bits_place,
};

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
    output: &mut OutputTile<'_>,
) -> bool {
    let Elements::Quantized(layout) = matrix.elements() else {
        return false;
    };
    for (index, tile) in range.tiles.clone().enumerate() {
        for first in range.tokens.clone().step_by(TOKENS) {
            let count = TOKENS.min(range.tokens.end - first);
            let sums = some_tokens((matrix, layout, tile), rows, first, count);
            for (token, sum) in sums.iter().enumerate().take(count) {
                output.put(first - range.tokens.start + token, index * TILE_ROWS, sum);
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
    let vectors = packed.as_chunks::<VECTOR_BYTES>().0;
    let zero = i16::from(layout.zero);
    let entries = layout.codebook.map(Codebook::entries);
    let integer = |nibble: u8| entries.map_or(nibble, |entries| entries[usize::from(nibble)]);
    for (vector, bytes) in vectors.iter().take(BLOCK_INPUTS / 4).enumerate() {
        if layout.bits == 8 {
            spread(bytes, 4 * vector, weights, |byte| i16::from(byte) - zero);
        } else if vector < 4 {
            spread(bytes, 4 * vector, weights, |byte| {
                i16::from(integer(byte & 15)) - zero
            });
            spread(bytes, 4 * vector + 16, weights, |byte| {
                i16::from(integer(byte >> 4)) - zero
            });
        }
    }
    if layout.bits == 5 || layout.bits == 6 {
        let width = layout.bits - 4;
        for vector in 0..BLOCK_INPUTS / 4 {
            let (plane, shift) = high_bits_place(width, vector);
            for (place, byte) in vectors[4 + plane].iter().enumerate() {
                let high = (byte >> shift) & ((1 << width) - 1);
                weights[4 * vector + place % 4][place / 4] += i16::from(high << 4);
            }
        }
    }
}

/// Takes the bytes of one vector apart: four inputs of each row.
#[inline]
fn spread(
    bytes: &[u8; VECTOR_BYTES],
    first: usize,
    weights: &mut [[i16; TILE_ROWS]; BLOCK_INPUTS],
    integer: impl Fn(u8) -> i16,
) {
    for lane in 0..TILE_ROWS {
        for byte in 0..4 {
            weights[first + byte][lane] = integer(bytes[lane * 4 + byte]);
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
