//! What the keys of blocks add to the scores of their positions.

use std::ops::Range;

use super::arithmetic::{Arithmetic, Floats, width};
use super::block_keys::BlockKeys;
use super::layout::{BLOCK_TOKENS, SEGMENT_BLOCKS, Side};
use super::multiply::{Panel, multiply};
use super::scratch::Scratch;
use super::walk::Walk;
use crate::simd::Lanes;

/// Adds the products of the second queries with the keys of some blocks of a segment to the scores of their positions.
///
/// # Safety
///
/// The scratch memory is of the walk's setting, which has `ROWS` query rows from `first_row` on, and the scores of
/// the blocks were written.
#[inline(always)]
pub(super) unsafe fn add<A: Arithmetic, const ROWS: usize>(
    walk: &Walk<'_, '_, A>,
    first_row: usize,
    blocks: Range<usize>,
    scratch: &Scratch,
) {
    // SAFETY: what the caller promises; so many vectors are the blocks of a segment.
    unsafe {
        if width::<A>() == 4 {
            add_in::<A, ROWS, 4>(walk, first_row, blocks, scratch);
        } else if width::<A>() == 8 {
            add_in::<A, ROWS, 2>(walk, first_row, blocks, scratch);
        } else {
            add_in::<A, ROWS, 1>(walk, first_row, blocks, scratch);
        }
    }
}

/// # Safety
///
/// As [`add`]; the vectors are as wide as the blocks of a segment.
#[inline(always)]
unsafe fn add_in<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
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
        let keys: [_; VECTORS] = std::array::from_fn(|vector| [keys.add(vector * width::<A>()); 2]);
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
