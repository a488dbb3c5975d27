//! Products of a backward pass on all threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::float_product::FloatProduct;
use super::multiply::{RowPrecision, SharedOutput};
use super::rows::{QuantizedRows, TileRange};
use super::transposed::{OutputRows, inputs_of};
use super::turn_over;
use crate::aligned::Arena;
use crate::kernels::Kernels;
use crate::threads::ThreadPool;
use crate::weights::{BLOCK_INPUTS, PackedMatrix, PackingError, TILE_ROWS};

/// Pieces of work for each thread: what one is late with, another takes over.
const PIECES: usize = 4;
/// Rows of a float product that one piece has at least, and columns that one has: whole tiles of the kernels.
const PIECE_ROWS: usize = 12;
const PIECE_COLUMNS: usize = 32;
/// Rows for which turning weights over pays.
const ROWS_TO_TURN_FOR: usize = 32;
/// Rows that a thread quantizes at a time.
const QUANTIZED_ROWS: usize = 8;

/// What gradients of inputs are computed from.
#[derive(Debug, Clone, Copy)]
pub struct TransposedProduct<'a> {
    /// Of one width; their outputs stand side by side.
    pub matrices: &'a [PackedMatrix],
    /// The gradients of those outputs, row by row.
    pub rows: &'a [f32],
    /// [`RowPrecision::Bytes`] rounds gradients, and weights, to 8 bits where there are enough rows; else nothing is rounded.
    pub precision: RowPrecision,
}

/// What such products work in, kept between them.
#[derive(Debug, Default)]
pub struct TransposedBuffers {
    rows: Vec<QuantizedRows>,
    arena: Arena,
    panels: Mutex<Vec<PackedMatrix>>,
}

impl TransposedBuffers {
    /// What they take.
    pub fn bytes(&self) -> usize {
        let panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner);
        let panels: usize = panels.iter().map(PackedMatrix::bytes).sum();
        panels + self.rows.iter().map(QuantizedRows::bytes).sum::<usize>()
    }

    /// A panel that nobody has, of so many columns.
    fn panel(&self, columns: usize) -> Result<PackedMatrix, PackingError> {
        let mut panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |panel: &PackedMatrix| panel.columns() == columns;
        match panels.iter().position(fits) {
            Some(index) => Ok(panels.swap_remove(index)),
            None => PackedMatrix::panel(columns, &self.arena),
        }
    }

    fn put_back(&self, panel: PackedMatrix) {
        let mut panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner);
        panels.push(panel);
    }
}

impl TransposedProduct<'_> {
    fn width(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::rows).sum()
    }

    fn is_rounded(&self, count: usize) -> bool {
        self.precision == RowPrecision::Bytes
            && count >= ROWS_TO_TURN_FOR
            && self.matrices.iter().all(turn_over::takes)
    }

    /// The rows that meet a matrix, whose outputs begin at a column.
    fn rows_from(&self, column: usize) -> OutputRows<'_> {
        OutputRows {
            values: &self.rows[column..],
            stride: self.width(),
        }
    }
}

/// `gradients += rows * matrices`: from the gradients of outputs to those of the inputs that all matrices share.
///
/// # Panics
///
/// Where the lengths do not fit.
pub fn add_transposed(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    product: &TransposedProduct<'_>,
    buffers: &mut TransposedBuffers,
    gradients: &mut [f32],
) {
    let Some(first) = product.matrices.first() else {
        return;
    };
    let (columns, width) = (first.columns(), product.width());
    let count = product.rows.len() / width;
    assert!(
        product.rows.len() == count * width && gradients.len() == count * columns,
        "{} values for {} of gradients",
        product.rows.len(),
        gradients.len()
    );
    let mut all = product.matrices.iter();
    assert!(all.all(|matrix| matrix.columns() == columns));
    if count == 0 {
        return;
    }
    let is_rounded = product.is_rounded(count);
    if is_rounded {
        quantize(kernels, pool, product, &mut buffers.rows);
    }
    let blocks = columns.div_ceil(BLOCK_INPUTS);
    let size = blocks.div_ceil(PIECES * pool.threads()).max(1);
    let shared = SharedOutput::new(gradients, columns, true);
    let buffers = &*buffers;
    pool.run(blocks.div_ceil(size), &|piece| {
        let blocks = piece * size..blocks.min((piece + 1) * size);
        let place = (&shared, count);
        if is_rounded && add_rounded(kernels, product, buffers, place, &blocks) {
            return;
        }
        // SAFETY: pieces have blocks of their own, so columns of their own.
        let mut target = unsafe { shared.tile(&(0..count), &inputs_of(first, &blocks)) };
        let mut column = 0;
        for matrix in product.matrices {
            let rows = product.rows_from(column);
            kernels.multiply_transposed(matrix, rows, &blocks, &mut target);
            column += matrix.rows();
        }
    });
}

/// Rounds the rows of each matrix to 8 bits.
fn quantize(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    product: &TransposedProduct<'_>,
    quantized: &mut Vec<QuantizedRows>,
) {
    let width = product.width();
    quantized.resize_with(product.matrices.len(), QuantizedRows::default);
    let mut column = 0;
    for (matrix, quantized) in product.matrices.iter().zip(quantized) {
        let columns = column..column + matrix.rows();
        column = columns.end;
        quantized.reset(product.rows.len() / width, matrix.rows());
        let sources = product.rows.chunks(QUANTIZED_ROWS * width);
        let work = sources.zip(quantized.chunks_mut(QUANTIZED_ROWS));
        pool.for_each(work.collect(), 1, |(rows, targets)| {
            let targets = targets.into_rows();
            for (row, mut target) in rows.chunks_exact(width).zip(targets) {
                kernels.quantize(&row[columns.clone()], &mut target);
            }
        });
    }
}

/// Some blocks of a product of rounded rows; `false`, and nothing done, where there is no memory for panels.
fn add_rounded(
    kernels: &dyn Kernels,
    product: &TransposedProduct<'_>,
    buffers: &TransposedBuffers,
    (shared, count): (&SharedOutput, usize),
    blocks: &Range<usize>,
) -> bool {
    let panels = product.matrices.iter();
    let panels: Result<Vec<_>, _> = panels.map(|matrix| buffers.panel(matrix.rows())).collect();
    let Ok(mut panels) = panels else {
        return false;
    };
    let range = TileRange {
        tiles: 0..BLOCK_INPUTS / TILE_ROWS,
        tokens: 0..count,
        ahead: Vec::new(),
    };
    for block in blocks.clone() {
        let matrices = product.matrices.iter().zip(&mut panels);
        for ((matrix, panel), rows) in matrices.zip(&buffers.rows) {
            kernels.turn_over(matrix, block, panel);
            let inputs = inputs_of(matrix, &(block..block + 1));
            // SAFETY: a piece has blocks of its own, so columns of its own.
            let mut target = unsafe { shared.tile(&(0..count), &inputs) };
            kernels.multiply_quantized(panel, rows, &range, &mut target);
        }
    }
    for panel in panels {
        buffers.put_back(panel);
    }
    true
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
