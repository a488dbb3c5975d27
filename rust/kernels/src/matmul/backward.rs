//! Products of a backward pass on all threads.

use std::ops::Range;

use super::float_product::FloatProduct;
use super::multiply::SharedOutput;
use super::transposed::{OutputRows, inputs_of};
use crate::kernels::Kernels;
use crate::threads::ThreadPool;
use crate::weights::{BLOCK_INPUTS, PackedMatrix};

/// Pieces of work for each thread: what one is late with, another takes over.
const PIECES: usize = 4;
/// Rows of a float product that one piece has at least, and columns that one has: whole tiles of the kernels.
const PIECE_ROWS: usize = 12;
const PIECE_COLUMNS: usize = 32;

/// `gradients += rows * matrices`: from the gradients of the outputs, which stand side by side as the matrices do, to those of
/// the inputs that all of them share.
///
/// # Panics
///
/// Where the lengths do not fit.
pub fn add_transposed(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    matrices: &[PackedMatrix],
    rows: &[f32],
    gradients: &mut [f32],
) {
    let Some(first) = matrices.first() else {
        return;
    };
    let (columns, width) = (
        first.columns(),
        matrices.iter().map(PackedMatrix::rows).sum(),
    );
    let count = rows.len() / width;
    assert!(
        rows.len() == count * width && gradients.len() == count * columns,
        "{} values for {} of gradients",
        rows.len(),
        gradients.len()
    );
    assert!(matrices.iter().all(|matrix| matrix.columns() == columns));
    if count == 0 {
        return;
    }
    let blocks = columns.div_ceil(BLOCK_INPUTS);
    let size = blocks.div_ceil(PIECES * pool.threads()).max(1);
    let shared = SharedOutput::new(gradients, columns, true);
    pool.run(blocks.div_ceil(size), &|piece| {
        let blocks = piece * size..blocks.min((piece + 1) * size);
        // SAFETY: pieces have blocks of their own, so columns of their own.
        let mut target = unsafe { shared.tile(&(0..count), &inputs_of(first, &blocks)) };
        let mut column = 0;
        for matrix in matrices {
            let values = &rows[column..];
            let rows = OutputRows {
                values,
                stride: width,
            };
            kernels.multiply_transposed(matrix, rows, &blocks, &mut target);
            column += matrix.rows();
        }
    });
}

/// `output[:, columns] += left * right`, where a row of `output` is `width` wide.
///
/// # Panics
///
/// Where the lengths do not fit.
pub fn add_product(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    product: &FloatProduct<'_>,
    (output, width): (&mut [f32], usize),
    columns: Range<usize>,
) {
    assert!(
        width > 0 && output.len().is_multiple_of(width) && columns.end <= width,
        "columns {columns:?} of {width}"
    );
    let rows = output.len() / width;
    product.check((rows, columns.len()));
    let shared = SharedOutput::new(output, width, true);
    let piece_of = |length: usize, least: usize| {
        let fair = length.div_ceil(PIECES * pool.threads());
        fair.next_multiple_of(least).max(least)
    };
    let by_columns = columns.len() / PIECE_COLUMNS >= rows / PIECE_ROWS;
    let (piece_rows, piece_columns) = if by_columns {
        (rows.max(1), piece_of(columns.len(), PIECE_COLUMNS))
    } else {
        (piece_of(rows, PIECE_ROWS), columns.len().max(1))
    };
    let across = columns.len().div_ceil(piece_columns);
    pool.run(rows.div_ceil(piece_rows) * across, &|piece| {
        let (row, column) = (piece / across * piece_rows, piece % across * piece_columns);
        let piece_rows = row..rows.min(row + piece_rows);
        let first = columns.start + column;
        let piece_columns = first..columns.end.min(first + piece_columns);
        // SAFETY: pieces are rectangles of their own.
        let mut target = unsafe { shared.tile(&piece_rows, &piece_columns) };
        kernels.add_product(&product.part(row, column), &mut target);
    });
}
