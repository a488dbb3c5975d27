//! Products with a packed matrix turned over: from the gradients of its outputs to those of its inputs, out of the packed
//! weights themselves.
//!
//! A panel of some tiles and one block of inputs is decoded, and all rows meet it while it is in the cache.

use std::ops::Range;

use super::float_product::{self, FloatProduct, Grid};
use super::output::OutputTile;
use crate::simd::Lanes;
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS, TileBlock};

/// Tiles of a panel: 256 outputs of 32 inputs are 32 KiB.
const PANEL_TILES: usize = 16;
/// Numbers of a decoded block of a tile, `[TILE_ROWS, BLOCK_INPUTS]`.
pub(crate) const BLOCK: usize = TILE_ROWS * BLOCK_INPUTS;

/// Rows as wide as a matrix has outputs; they may stand in wider ones.
#[derive(Debug, Clone, Copy)]
pub struct OutputRows<'a> {
    /// The first is the first of row 0.
    pub values: &'a [f32],
    /// From a row to the next.
    pub stride: usize,
}

/// The inputs that some blocks of 32 hold; the last block of a dense matrix may be shorter.
pub(crate) fn inputs_of(matrix: &PackedMatrix, blocks: &Range<usize>) -> Range<usize> {
    let end = |block: usize| matrix.columns().min(block * BLOCK_INPUTS);
    end(blocks.start)..end(blocks.end)
}

/// Panics unless blocks and output lie inside, and there is a row of `rows` for each of the output.
pub(crate) fn check(
    matrix: &PackedMatrix,
    rows: OutputRows<'_>,
    blocks: &Range<usize>,
    output: &OutputTile<'_>,
) {
    assert!(
        blocks.end <= matrix.columns().div_ceil(BLOCK_INPUTS),
        "blocks {blocks:?} of {} inputs",
        matrix.columns()
    );
    assert_eq!(
        output.columns(),
        inputs_of(matrix, blocks).len(),
        "output of {blocks:?}"
    );
    let needed = output.rows().saturating_sub(1) * rows.stride + matrix.rows();
    assert!(
        output.rows() == 0 || needed <= rows.values.len() && matrix.rows() <= rows.stride,
        "{} rows of {}",
        output.rows(),
        matrix.rows()
    );
}

/// `output += rows * matrix[:, blocks]`, in plain loops.
pub(crate) fn plain(
    matrix: &PackedMatrix,
    rows: OutputRows<'_>,
    blocks: &Range<usize>,
    output: &mut OutputTile<'_>,
) {
    check(matrix, rows, blocks, output);
    let inputs = inputs_of(matrix, blocks);
    let mut weights = vec![0.0; matrix.columns()];
    for index in 0..matrix.rows() {
        matrix.decode_row(index, &mut weights);
        for row in 0..output.rows() {
            let factor = rows.values[row * rows.stride + index];
            for (target, weight) in output.row_mut(row).iter_mut().zip(&weights[inputs.clone()]) {
                *target += factor * weight;
            }
        }
    }
}

/// `output += rows * matrix[:, blocks]`.
///
/// # Safety
///
/// [`check`] passed.
#[inline(always)]
pub(crate) unsafe fn add<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    rows: OutputRows<'_>,
    blocks: &Range<usize>,
    output: &mut OutputTile<'_>,
) {
    let mut panel = vec![0.0; PANEL_TILES * BLOCK];
    for first_tile in (0..matrix.tiles()).step_by(PANEL_TILES) {
        let tiles = first_tile..matrix.tiles().min(first_tile + PANEL_TILES);
        let first_row = first_tile * TILE_ROWS;
        for block in blocks.clone() {
            for (tile, target) in tiles.clone().zip(panel.chunks_exact_mut(BLOCK)) {
                decode(lanes, matrix, (tile, block), target);
            }
            let product = FloatProduct {
                left: Grid::rows(&rows.values[first_row..], rows.stride),
                right: &panel,
                right_stride: BLOCK_INPUTS,
                depth: matrix.rows().min(tiles.end * TILE_ROWS) - first_row,
            };
            let columns = inputs_of(matrix, &(block..block + 1)).len();
            let column = (block - blocks.start) * BLOCK_INPUTS;
            // SAFETY: the columns of the block lie in the output, which has them all, and nobody else has it meanwhile.
            let mut part = unsafe {
                let first = output.as_mut_ptr().add(column);
                OutputTile::from_raw(first, (output.rows(), columns), output.stride(), true)
            };
            // SAFETY: the caller checked the rows, and the panel has as many as the product is deep.
            unsafe { float_product::add(lanes, &product, &mut part) };
        }
    }
}

/// Decodes a block of a tile to `[TILE_ROWS, BLOCK_INPUTS]`; what a dense matrix lacks of it stays as it is.
#[inline(always)]
pub(crate) fn decode<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    (tile, block): (usize, usize),
    target: &mut [f32],
) {
    let values = matrix.tile_values(tile);
    let inputs = inputs_of(matrix, &(block..block + 1));
    let stored = values.as_ptr();
    let mut turned = [0.0; BLOCK];
    match matrix.elements() {
        Elements::Quantized(layout) => {
            let view = TileBlock::new(layout, values, matrix.tile_scales(tile), block);
            let mut scales = [[[0.0; TILE_ROWS]; 2]; 2];
            for (group, scales) in scales.iter_mut().take(layout.groups()).enumerate() {
                view.scales(lanes, group, scales);
            }
            for (lane, row) in target.chunks_exact_mut(BLOCK_INPUTS).enumerate() {
                let scale = |group: usize| scales[group].map(|of_lanes| of_lanes[lane]);
                decode_lane(lanes, &view, (lane, layout.group), (scale, row));
            }
            return;
        }
        Elements::Float => turn_in(lanes, (&mut turned, inputs.len()), |index| {
            // SAFETY: `index` is below the block's inputs of 16 numbers each, and a vector stands inside of one.
            unsafe { lanes.load(stored.cast::<f32>().add(inputs.start * TILE_ROWS + index)) }
        }),
        Elements::Half => turn_in(lanes, (&mut turned, inputs.len()), |index| {
            // SAFETY: `index` is below the block's inputs of 16 halves each, and a vector stands inside of one.
            unsafe { lanes.load_half(stored.cast::<u16>().add(inputs.start * TILE_ROWS + index)) }
        }),
        Elements::Bfloat => turn_in(lanes, (&mut turned, inputs.len()), |index| {
            // SAFETY: `index` is below the block's inputs of 16 bfloats each, and a vector stands inside of one.
            unsafe { lanes.load_bfloat(stored.cast::<u16>().add(inputs.start * TILE_ROWS + index)) }
        }),
    }
    for first_input in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
        for first_lane in (0..TILE_ROWS).step_by(L::WIDTH) {
            let source = &turned[first_input * TILE_ROWS + first_lane..];
            // SAFETY: the square of WIDTH rows and columns lies in the block, which WIDTH divides.
            unsafe {
                lanes.for_each_column(source.as_ptr(), TILE_ROWS, |column, vector| {
                    let place = (first_lane + column) * BLOCK_INPUTS + first_input;
                    lanes.store_up_to(&mut target[place..place + L::WIDTH], vector);
                });
            }
        }
    }
}

/// Fills `[BLOCK_INPUTS, TILE_ROWS]` with as many inputs as there are, by vectors that `load` gives.
#[inline(always)]
fn turn_in<L: Lanes>(
    lanes: L,
    (turned, inputs): (&mut [f32; BLOCK], usize),
    load: impl Fn(usize) -> L::Vector,
) {
    let numbers = &mut turned[..inputs * TILE_ROWS];
    for (index, target) in numbers.chunks_exact_mut(L::WIDTH).enumerate() {
        lanes.store_up_to(target, load(index * L::WIDTH));
    }
}

/// One row's part of a block.
#[inline(always)]
fn decode_lane<L: Lanes>(
    lanes: L,
    view: &TileBlock<'_>,
    (lane, group): (usize, usize),
    (scale, row): (impl Fn(usize) -> [f32; 2], &mut [f32]),
) {
    let integers = view.integers(lane);
    for (index, target) in row.chunks_exact_mut(group).enumerate() {
        let [scale, minimum] = scale(index).map(|value| lanes.splat(value));
        let integers = integers[index * group..].chunks_exact(L::WIDTH);
        for (integers, target) in integers.zip(target.chunks_exact_mut(L::WIDTH)) {
            // SAFETY: the chunk has as many bytes as a vector lanes.
            let integers = unsafe { lanes.load_bytes(integers.as_ptr()) };
            lanes.store_up_to(target, lanes.fma(integers, scale, minimum));
        }
    }
}
