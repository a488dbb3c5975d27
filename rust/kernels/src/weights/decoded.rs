//! Rows of packed weights as f32, in vectors.

use super::layout::{BLOCK_INPUTS, Elements, QuantLayout, TILE_ROWS, TileBlock};
use super::matrix::PackedMatrix;
use crate::simd::{Lanes, prefetch};

/// Bytes of a cache line.
const LINE: usize = 64;

/// See `Kernels::decode_rows`. A row's numbers are spread over its tile, so memory is asked for the next row's tile while
/// one is decoded.
#[inline(always)]
pub(crate) fn decode_rows<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    rows: &[u32],
    output: &mut [f32],
) {
    let Elements::Quantized(layout) = matrix.elements() else {
        for (row, target) in rows.iter().zip(output.chunks_exact_mut(matrix.columns())) {
            matrix.decode_row(*row as usize, target);
        }
        return;
    };
    // Once for each width, so that how integers are put together is known where that is done.
    match layout.bits {
        4 => decode_all(
            lanes,
            matrix,
            QuantLayout { bits: 4, ..layout },
            rows,
            output,
        ),
        5 => decode_all(
            lanes,
            matrix,
            QuantLayout { bits: 5, ..layout },
            rows,
            output,
        ),
        6 => decode_all(
            lanes,
            matrix,
            QuantLayout { bits: 6, ..layout },
            rows,
            output,
        ),
        _ => decode_all(
            lanes,
            matrix,
            QuantLayout { bits: 8, ..layout },
            rows,
            output,
        ),
    }
}

#[inline(always)]
fn decode_all<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    layout: QuantLayout,
    rows: &[u32],
    output: &mut [f32],
) {
    let targets = output.chunks_exact_mut(matrix.columns());
    for ((index, row), target) in rows.iter().enumerate().zip(targets) {
        let next = rows.get(index + 1).unwrap_or(row);
        let rows = (*row as usize, *next as usize);
        decode_row(lanes, matrix, layout, rows, target);
    }
}

#[inline(always)]
fn decode_row<L: Lanes>(
    lanes: L,
    matrix: &PackedMatrix,
    layout: QuantLayout,
    (row, next): (usize, usize),
    output: &mut [f32],
) {
    matrix.check_row(row, output);
    let (tile, lane) = (row / TILE_ROWS, row % TILE_ROWS);
    let (values, scales) = (matrix.tile_values(tile), matrix.tile_scales(tile));
    let next = next / TILE_ROWS;
    let ahead = (matrix.tile_values(next), matrix.tile_scales(next));
    let mut of_rows = [[0.0; TILE_ROWS]; 2];
    let targets = output.as_chunks_mut::<BLOCK_INPUTS>().0.iter_mut();
    for (index, target) in targets.enumerate() {
        let block = TileBlock::new(layout, values, scales, index);
        let bytes = layout.block_bytes();
        for line in ahead.0[index * bytes..][..bytes].chunks(LINE) {
            prefetch(line.as_ptr());
        }
        prefetch(ahead.1[layout.scale_offset(index)..].as_ptr());
        let integers = block.integers(lane);
        let groups = integers.chunks_exact(layout.group);
        let targets = target.chunks_exact_mut(layout.group);
        for (group, (integers, targets)) in groups.zip(targets).enumerate() {
            block.scales(lanes, group, &mut of_rows);
            let scale = lanes.splat(of_rows[0][lane]);
            let minimum = lanes.splat(of_rows[1][lane]);
            let pairs = integers.chunks_exact(L::WIDTH);
            for (integers, target) in pairs.zip(targets.chunks_exact_mut(L::WIDTH)) {
                // SAFETY: there are as many bytes as a vector has lanes.
                let numbers = unsafe { lanes.load_bytes(integers.as_ptr()) };
                lanes.store_up_to(target, lanes.add(lanes.mul(scale, numbers), minimum));
            }
        }
    }
}
