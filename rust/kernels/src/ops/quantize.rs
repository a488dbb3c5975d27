//! Activations in 8 or 14 bits: each block of 32 gets the scale `max|x| / 127`, or `/ 8191`.

use crate::matmul::words::LARGEST_WORD;
use crate::matmul::{QuantizedRowMut, WordRowMut};
use crate::plain::steps_in_one;
use crate::simd::Lanes;
use crate::weights::BLOCK_INPUTS;

/// Quantizes one row, whose slices fit `input`, which is whole blocks.
#[inline(always)]
pub(crate) fn quantize<L: Lanes>(lanes: L, input: &[f32], row: &mut QuantizedRowMut<'_>) {
    let values = input.as_chunks::<BLOCK_INPUTS>().0;
    let quants = row.quants.as_chunks_mut::<BLOCK_INPUTS>().0;
    for ((values, quants), scale) in values.iter().zip(quants).zip(row.scales.iter_mut()) {
        let largest = largest_magnitude(lanes, values);
        *scale = largest / 127.0;
        let inverse = steps_in_one(127.0, largest);
        for (values, quants) in vectors::<L, _>(values).zip(quants.chunks_exact_mut(L::WIDTH)) {
            let value = lanes.mul(lanes.load_up_to(values), lanes.splat(inverse));
            // SAFETY: the chunk has room for a vector of bytes.
            unsafe { lanes.store_bytes(quants.as_mut_ptr(), lanes.round(value)) };
        }
    }
    // Apart from the loop above, whose small stores a wide load would have to wait for.
    for block in 0..values.len() {
        let quants = &row.quants[block * BLOCK_INPUTS..][..BLOCK_INPUTS];
        // SAFETY: a block has 32 bytes.
        let sums = unsafe { lanes.half_sums(quants.as_ptr()) };
        row.describe_block(block, row.scales[block], sums);
    }
}

/// Quantizes one row to words; as `quantize`.
#[inline(always)]
pub(crate) fn quantize_words<L: Lanes>(lanes: L, input: &[f32], row: &mut WordRowMut<'_>) {
    let blocks = input.as_chunks::<BLOCK_INPUTS>().0.iter();
    let words = row.words.as_chunks_mut::<BLOCK_INPUTS>().0;
    for ((values, words), scale) in blocks.zip(words).zip(row.scales.iter_mut()) {
        let largest = largest_magnitude(lanes, values);
        *scale = largest / LARGEST_WORD;
        let inverse = steps_in_one(LARGEST_WORD, largest);
        for (values, words) in vectors::<L, _>(values).zip(words.chunks_exact_mut(L::WIDTH)) {
            let value = lanes.mul(lanes.load_up_to(values), lanes.splat(inverse));
            // SAFETY: the chunk has room for a vector of words.
            unsafe { lanes.store_words(words.as_mut_ptr(), lanes.round(value)) };
        }
    }
}

/// The vectors of a block, which they fill exactly.
#[inline(always)]
fn vectors<L: Lanes, T>(block: &[T; BLOCK_INPUTS]) -> std::slice::ChunksExact<'_, T> {
    block.chunks_exact(L::WIDTH)
}

#[inline(always)]
fn largest_magnitude<L: Lanes>(lanes: L, values: &[f32; BLOCK_INPUTS]) -> f32 {
    let mut largest = lanes.splat(0.0);
    for values in vectors::<L, _>(values) {
        largest = lanes.max(largest, lanes.abs(lanes.load_up_to(values)));
    }
    lanes.maximum(largest)
}
