//! Matrix products: packed weights `[rows, columns]` times rows of activations.

pub(crate) mod dense;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quantized_avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod quantized_avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod quantized_portable;
mod rows;

use std::sync::atomic::{AtomicPtr, Ordering};

pub use dense::FloatRows;
pub(crate) use dense::decode_tile;
pub use rows::{QuantizedRowMut, QuantizedRows, TileRange};

use crate::kernels::Kernels;
use crate::pack::{Elements, PackedMatrix, TILE_ROWS};
use crate::threads::ThreadPool;

/// Bytes of activations that should stay in a core's cache while tiles pass by.
const ACTIVATION_BYTES: usize = 256 << 10;

/// The left side of a product, in the precision that the weights meet it.
#[derive(Debug, Clone, Copy)]
pub enum Activations<'a> {
    /// f32.
    Float(FloatRows<'a>),
    /// 8 bits; only for quantized matrices.
    Quantized(&'a QuantizedRows),
}

impl Activations<'_> {
    fn tokens(&self) -> usize {
        match self {
            Self::Float(rows) => rows.values.len() / rows.columns.max(1),
            Self::Quantized(rows) => rows.tokens(),
        }
    }

    fn row_bytes(&self) -> usize {
        match self {
            Self::Float(rows) => rows.columns * 4,
            Self::Quantized(rows) => rows.columns(),
        }
    }
}

/// Rows shared by threads that write disjoint columns.
struct SharedRows {
    pointer: AtomicPtr<f32>,
    stride: usize,
}

impl SharedRows {
    /// Copies `source` to a row's columns.
    ///
    /// # Safety
    ///
    /// The columns lie inside the row, and no other thread touches them.
    unsafe fn write(&self, row: usize, column: usize, source: &[f32]) {
        // SAFETY: the caller's.
        unsafe {
            let target = self
                .pointer
                .load(Ordering::Relaxed)
                .add(row * self.stride + column);
            std::ptr::copy_nonoverlapping(source.as_ptr(), target, source.len());
        }
    }
}

/// One product, cut into chunks of tiles.
struct Chunk<'a> {
    matrix: &'a PackedMatrix,
    tiles: std::ops::Range<usize>,
    /// Where the matrix' outputs begin in an output row.
    column: usize,
}

/// `output[token] = [matrices[0] * x, matrices[1] * x, ...]`, all in one parallel region.
///
/// `output` is `[tokens, sum of rows]`.
///
/// # Panics
///
/// Where the lengths do not fit.
pub fn multiply(
    kernels: &dyn Kernels,
    pool: &ThreadPool,
    matrices: &[PackedMatrix],
    activations: Activations<'_>,
    output: &mut [f32],
) {
    let tokens = activations.tokens();
    let width: usize = matrices.iter().map(PackedMatrix::rows).sum();
    assert_eq!(
        output.len(),
        tokens * width,
        "output of {tokens} tokens, {width} wide"
    );
    let chunks = chunks_of(matrices, pool.threads(), tokens);
    let shared = SharedRows {
        pointer: AtomicPtr::new(output.as_mut_ptr()),
        stride: width,
    };
    let step = (ACTIVATION_BYTES / activations.row_bytes().max(1)).clamp(12, 4096) / 12 * 12;
    pool.run(chunks.len(), &|index| {
        let Chunk {
            matrix,
            tiles,
            column,
        } = &chunks[index];
        let mut result = Vec::new();
        for first in (0..tokens).step_by(step) {
            let range = TileRange {
                tiles: tiles.clone(),
                tokens: first..tokens.min(first + step),
            };
            result.resize(range.output_length(), 0.0);
            match activations {
                Activations::Float(rows) => {
                    kernels.multiply_float(matrix, rows, &range, &mut result);
                }
                Activations::Quantized(rows) => {
                    kernels.multiply_quantized(matrix, rows, &range, &mut result);
                }
            }
            let rows = tiles.start * TILE_ROWS..matrix.rows().min(tiles.end * TILE_ROWS);
            for (token, result) in result.chunks_exact(range.output_stride()).enumerate() {
                // SAFETY: chunks cover disjoint rows of the matrices, so disjoint columns; the
                // output's length was checked above.
                unsafe { shared.write(first + token, column + rows.start, &result[..rows.len()]) };
            }
        }
    });
}

/// Cuts the matrices so that each thread gets several chunks, of tiles that share their activations.
fn chunks_of(matrices: &[PackedMatrix], threads: usize, tokens: usize) -> Vec<Chunk<'_>> {
    let tiles: usize = matrices.iter().map(PackedMatrix::tiles).sum();
    let pieces = if threads == 1 {
        1
    } else {
        threads * if tokens == 1 { 4 } else { 8 }
    };
    let size = tiles.div_ceil(pieces).max(1);
    let mut column = 0;
    let mut chunks = Vec::new();
    for matrix in matrices {
        for first in (0..matrix.tiles()).step_by(size) {
            let tiles = first..matrix.tiles().min(first + size);
            chunks.push(Chunk {
                matrix,
                tiles,
                column,
            });
        }
        column += matrix.rows();
    }
    chunks
}

/// Whether 8-bit activations can meet the matrix.
pub fn takes_quantized(matrix: &PackedMatrix) -> bool {
    matches!(matrix.elements(), Elements::Quantized(_))
}
