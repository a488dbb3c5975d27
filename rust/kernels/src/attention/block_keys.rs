//! What the keys of a block have in common, kept apart from them: one more key for each block, in floats.
//!
//! Keys may share a part that is many times as large as what tells them apart (a bias, turned by their
//! position), beside which few bits leave nothing of the rest. Whoever stores keys takes that part off, and hands it on
//! here: a score is the product with the stored key, and that of a second query with the key of the block.

use std::ops::Range;

use super::arithmetic::{Arithmetic, Floats, width};
use super::layout::{BLOCK_TOKENS, Side};
use super::multiply::{Panel, multiply};
use super::rows::QueryRows;
use super::scratch::Scratch;
use super::task::{SEGMENT_BLOCKS, SEGMENT_TOKENS};
use super::tile::Walk;
use crate::simd::Lanes;

/// A key of each block, and the queries that meet them.
#[derive(Debug, Clone, Copy)]
pub struct BlockKeys<'a> {
    /// A row for each of the queries, as wide.
    pub queries: QueryRows<'a>,
    /// Those of whole segments from position 0 on, for all heads; where each number stands, [`Self::place`] says.
    pub keys: &'a [f32],
}

impl BlockKeys<'_> {
    /// Numbers that cover so many positions.
    pub const fn elements(positions: usize, head_dim: usize) -> usize {
        positions.div_ceil(SEGMENT_TOKENS) * SEGMENT_BLOCKS * head_dim
    }

    /// Where a number of the key of a block stands: dimension by dimension in each segment.
    pub const fn place(block: usize, dimension: usize, head_dim: usize) -> usize {
        let first = block / SEGMENT_BLOCKS * SEGMENT_BLOCKS * head_dim;
        first + dimension * SEGMENT_BLOCKS + block % SEGMENT_BLOCKS
    }
}

/// Adds the products of the second queries with the keys of some blocks of a segment to the scores of their positions.
///
/// # Safety
///
/// The scratch memory is of the walk's setting, which has `ROWS` query rows from `first_row` on, and the scores of
/// the blocks were written.
#[inline(always)]
pub(super) unsafe fn add_scores<A: Arithmetic, const ROWS: usize>(
    walk: &Walk<'_, '_, A>,
    first_row: usize,
    blocks: Range<usize>,
    scratch: &Scratch,
) {
    // SAFETY: what the caller promises; so many vectors are the blocks of a segment.
    unsafe {
        if width::<A>() == 4 {
            add::<A, ROWS, 4>(walk, first_row, blocks, scratch);
        } else if width::<A>() == 8 {
            add::<A, ROWS, 2>(walk, first_row, blocks, scratch);
        } else {
            add::<A, ROWS, 1>(walk, first_row, blocks, scratch);
        }
    }
}

/// # Safety
///
/// As [`add_scores`]; the vectors are as wide as the blocks of a segment.
#[inline(always)]
unsafe fn add<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
    walk: &Walk<'_, '_, A>,
    first_row: usize,
    blocks: Range<usize>,
    scratch: &Scratch,
) {
    const { assert!(SEGMENT_BLOCKS == BLOCK_TOKENS) };
    let Some(own) = walk.setting.task.block_keys else {
        return;
    };
    let (floats, lanes) = (Floats(walk.arithmetic.lanes()), walk.arithmetic.lanes());
    let head_dim = walk.setting.dimensions.head_dim;
    let first = BlockKeys::elements(walk.segment.first_position, head_dim);
    let keys = own.keys[first..][..SEGMENT_BLOCKS * head_dim].as_ptr();
    // SAFETY: a segment has a vector of its blocks' keys for each dimension, and a row a second query with these; its
    // scores of the blocks were written.
    unsafe {
        let mut sums = [[floats.zero(); VECTORS]; ROWS];
        let queries: [_; ROWS] =
            std::array::from_fn(|row| scratch.block_query(first_row + row).cast_const());
        let keys: [_; VECTORS] = std::array::from_fn(|vector| keys.add(vector * width::<A>()));
        let keys = Panel {
            side: Side::Key,
            vectors: &keys,
            stride: SEGMENT_BLOCKS,
        };
        multiply(floats, &mut sums, &queries, &keys, (0..head_dim, None));
        for (row, sums) in sums.into_iter().enumerate() {
            let mut of_blocks = [0.0; SEGMENT_BLOCKS];
            for (part, sum) in of_blocks.chunks_exact_mut(width::<A>()).zip(sums) {
                lanes.store(part.as_mut_ptr(), sum);
            }
            for block in blocks.clone() {
                let own = lanes.splat(of_blocks[block]);
                for token in (0..BLOCK_TOKENS).step_by(width::<A>()) {
                    let place = scratch.weights(row).add(block * BLOCK_TOKENS + token);
                    lanes.store(place, lanes.add(lanes.load(place), own));
                }
            }
        }
    }
}
