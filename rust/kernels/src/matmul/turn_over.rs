//! A block of inputs of quantized weights, turned over: what gradients of 8 bits meet in the products that weights of 8 bits
//! have already.
//!
//! What is rounded is rounded as activations are: a step is the 127th part of the largest of 32.

use super::transposed::{BLOCK, decode};
use crate::plain::steps_in_one;
use crate::simd::Lanes;
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS, VECTOR_BYTES};

/// The largest integer.
const LARGEST: f32 = 127.0;
/// The integer that stands for 0 in a panel.
const ZERO: u8 = 128;
/// Weights below it are as good as zeros.
const SMALLEST: f32 = 1e-30;
/// Bytes of a block of a panel's tile.
const PANEL_BLOCK: usize = TILE_ROWS * BLOCK_INPUTS;

/// Whether a matrix can be turned over so.
pub(crate) fn takes(matrix: &PackedMatrix) -> bool {
    let is_quantized = matches!(matrix.elements(), Elements::Quantized(_));
    is_quantized && matrix.rows().is_multiple_of(BLOCK_INPUTS)
}

/// Panics unless the matrix is one that can be turned over, and has the block, and the panel is one for it.
pub(crate) fn check(matrix: &PackedMatrix, block: usize, panel: &PackedMatrix) {
    assert!(
        takes(matrix) && block < matrix.columns() / BLOCK_INPUTS,
        "block {block} of {} by {}",
        matrix.rows(),
        matrix.columns()
    );
    assert_eq!(
        (panel.rows(), panel.columns()),
        (BLOCK_INPUTS, matrix.rows()),
        "the panel"
    );
}

/// In plain loops.
pub(crate) fn plain(matrix: &PackedMatrix, block: usize, panel: &mut PackedMatrix) {
    check(matrix, block, panel);
    let inputs = block * BLOCK_INPUTS..(block + 1) * BLOCK_INPUTS;
    let mut decoded = vec![0.0; matrix.columns()];
    let mut weights = vec![[0.0; BLOCK_INPUTS]; BLOCK_INPUTS];
    for part in 0..matrix.rows() / BLOCK_INPUTS {
        for (output, target) in weights.iter_mut().enumerate() {
            matrix.decode_row(part * BLOCK_INPUTS + output, &mut decoded);
            target.copy_from_slice(&decoded[inputs.clone()]);
        }
        for input in 0..BLOCK_INPUTS {
            let column = || weights.iter().map(|row| row[input]);
            let largest = column().fold(0.0, |most: f32, weight| most.max(weight.abs()));
            let inverse = steps_in_one(LARGEST, largest);
            let (tile, lane) = (input / TILE_ROWS, input % TILE_ROWS);
            let target = Target::new(panel, part, tile);
            target.scales[lane * 4..][..4].copy_from_slice(&(largest / LARGEST).to_le_bytes());
            for (output, weight) in column().enumerate() {
                let integer = (weight * inverse).round_ties_even() as i8;
                let place = output / 4 * VECTOR_BYTES + lane * 4 + output % 4;
                target.values[place] = integer.cast_unsigned() ^ ZERO;
            }
        }
    }
}

/// One block of one tile of a panel.
struct Target<'a> {
    values: &'a mut [u8],
    scales: &'a mut [u8],
}

impl<'a> Target<'a> {
    fn new(panel: &'a mut PackedMatrix, part: usize, tile: usize) -> Self {
        let blocks = panel.columns() / BLOCK_INPUTS;
        let block = tile * blocks + part;
        let (values, scales) = panel.contents_mut();
        Self {
            values: &mut values[block * PANEL_BLOCK..(block + 1) * PANEL_BLOCK],
            scales: &mut scales[block * VECTOR_BYTES..(block + 1) * VECTOR_BYTES],
        }
    }
}

/// In vectors over inputs; [`check`] passed.
#[inline(always)]
pub(crate) fn turn_over<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    block: usize,
    panel: &mut PackedMatrix,
) {
    let mut weights = [0.0; 2 * BLOCK];
    for part in 0..matrix.rows() / BLOCK_INPUTS {
        for (half, target) in weights.chunks_exact_mut(BLOCK).enumerate() {
            decode(lanes, matrix, (2 * part + half, block), target);
        }
        for tile in 0..BLOCK_INPUTS / TILE_ROWS {
            let mut target = Target::new(panel, part, tile);
            quantize_tile(lanes, &weights[tile * TILE_ROWS..], &mut target);
        }
    }
}

/// Quantizes 32 rows of 16 weights that are [`BLOCK_INPUTS`] apart, each column by its largest.
#[inline(always)]
fn quantize_tile<L: Lanes>(lanes: L, weights: &[f32], target: &mut Target<'_>) {
    let mut inverses = [0.0; TILE_ROWS];
    let mut scales = [0.0; TILE_ROWS];
    for first in (0..TILE_ROWS).step_by(L::WIDTH) {
        let mut largest = lanes.splat(0.0);
        for row in 0..BLOCK_INPUTS {
            let weights = &weights[row * BLOCK_INPUTS + first..][..L::WIDTH];
            largest = lanes.max(largest, lanes.abs(lanes.load_up_to(weights)));
        }
        let steps = lanes.splat(LARGEST);
        let smallest = lanes.splat(SMALLEST);
        let inverse = lanes.keep_from(largest, smallest, lanes.div(steps, largest));
        lanes.store_up_to(&mut inverses[first..first + L::WIDTH], inverse);
        let scale = lanes.div(largest, steps);
        lanes.store_up_to(&mut scales[first..first + L::WIDTH], scale);
    }
    for (scale, bytes) in scales.iter().zip(target.scales.as_chunks_mut::<4>().0) {
        *bytes = scale.to_le_bytes();
    }
    let mut integers = [[0_i8; TILE_ROWS]; 4];
    let vectors = target.values.chunks_exact_mut(VECTOR_BYTES);
    for (vector, values) in vectors.enumerate() {
        for (row, integers) in integers.iter_mut().enumerate() {
            let weights = &weights[(4 * vector + row) * BLOCK_INPUTS..][..TILE_ROWS];
            for first in (0..TILE_ROWS).step_by(L::WIDTH) {
                let weight = lanes.load_up_to(&weights[first..first + L::WIDTH]);
                let inverse = lanes.load_up_to(&inverses[first..first + L::WIDTH]);
                let integer = lanes.round(lanes.mul(weight, inverse));
                let place = &mut integers[first..first + L::WIDTH];
                // SAFETY: the place has as many bytes as a vector lanes, and the lanes are from -127 to 127.
                unsafe { lanes.store_bytes(place.as_mut_ptr(), integer) };
            }
        }
        for (lane, word) in values.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for (byte, integers) in word.iter_mut().zip(&integers) {
                *byte = integers[lane].cast_unsigned() ^ ZERO;
            }
        }
    }
}
