//! How a product is cut for the threads.

use std::ops::Range;

use super::product::{Epilogue, FEW_TOKENS, Product};
use crate::read_ahead::ReadAhead;
use crate::weights::PackedMatrix;

/// Some tiles of one of a product's matrices.
pub(super) struct Chunk<'a> {
    /// The matrix; what is gated stands behind its gate.
    pub(super) matrices: &'a [PackedMatrix],
    pub(super) tiles: Range<usize>,
    /// Where the matrix' outputs begin in an output row.
    pub(super) column: usize,
}

/// Kernels take tiles in pairs.
pub(super) const PAIR: usize = 2;

/// Cuts the matrices so that each thread gets several chunks, of tiles that share their activations.
pub(super) struct Cut<'a> {
    matrices: &'a [PackedMatrix],
    /// Matrices that are multiplied together.
    together: usize,
    /// Tiles of a chunk.
    size: usize,
}

impl<'a> Cut<'a> {
    pub(super) fn new(product: &Product<'a>, threads: usize) -> Self {
        let matrices = product.matrices;
        let together = match product.epilogue {
            Epilogue::Gate(_) => matrices.len().max(1),
            _ => 1,
        };
        let tiles: usize = matrices.iter().map(PackedMatrix::tiles).sum::<usize>() / together;
        let pieces = match threads {
            1 => 1,
            _ if product.activations.tokens() <= FEW_TOKENS => threads * 4,
            _ => threads * 8,
        };
        let size = tiles.div_ceil(pieces).max(1).next_multiple_of(PAIR);
        let of_size = |size| Self {
            matrices,
            together,
            size,
        };
        // A little more or less than that where the threads' shares are more even so.
        let sizes = [size, size.saturating_sub(PAIR).max(PAIR), size + PAIR];
        let even = sizes
            .into_iter()
            .min_by_key(|size| of_size(*size).share(threads));
        of_size(even.unwrap_or(size))
    }

    /// The most tiles that one of the threads has, where all take chunks as fast.
    fn share(&self, threads: usize) -> usize {
        self.chunks().div_ceil(threads.max(1)) * self.size
    }

    fn groups(&self) -> impl Iterator<Item = &'a [PackedMatrix]> + use<'a> {
        self.matrices.chunks(self.together)
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> usize {
        let chunks_of = |group: &[PackedMatrix]| group[0].tiles().div_ceil(self.size);
        self.groups().map(chunks_of).sum()
    }

    /// One of them.
    pub(super) fn chunk(&self, mut index: usize) -> Option<Chunk<'a>> {
        let mut column = 0;
        for matrices in self.groups() {
            let tiles = matrices[0].tiles();
            let first = index * self.size;
            if first < tiles {
                return Some(Chunk {
                    matrices,
                    tiles: first..tiles.min(first + self.size),
                    column,
                });
            }
            index -= tiles.div_ceil(self.size);
            column += matrices[0].rows();
        }
        None
    }
}

/// The tiles, up to the end of their matrix, with which a thread begins a product.
fn first_tile(matrices: &[PackedMatrix], thread: usize, threads: usize) -> Option<&[u8]> {
    let tiles: usize = matrices.iter().map(PackedMatrix::tiles).sum();
    let mut tile = tiles * thread / threads.max(1);
    for matrix in matrices {
        if tile < matrix.tiles() {
            return Some(matrix.values_from(tile));
        }
        tile -= matrix.tiles();
    }
    None
}

impl ReadAhead {
    /// For each thread the weights that it reads first when `matrices` are multiplied.
    pub fn for_threads(matrices: &[PackedMatrix], threads: usize) -> Vec<Self> {
        (0..threads)
            .map(|thread| {
                first_tile(matrices, thread, threads).map_or_else(Self::default, Self::beginning_of)
            })
            .collect()
    }
}
