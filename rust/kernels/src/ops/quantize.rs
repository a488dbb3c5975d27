//! Activations in 8 or 14 bits: each block of 32 gets the scale `max|x| / 127`, or `/ 8191`.

use crate::matmul::words::LARGEST_WORD;
use crate::matmul::{QuantizedRowMut, WordRowMut};
use crate::plain::steps_in_one;
use crate::simd::Lanes;
use crate::weights::BLOCK_INPUTS;

/// Quantizes one row.
///
/// # Safety
///
/// Needs the instruction set of `L`; the row's slices fit `input`, which is whole blocks.
#[inline(always)]
pub(crate) unsafe fn quantize<L: Lanes>(input: &[f32], row: &mut QuantizedRowMut<'_>) {
    let values = input.as_chunks::<BLOCK_INPUTS>().0;
    let quants = row.quants.as_chunks_mut::<BLOCK_INPUTS>().0;
    for ((values, quants), scale) in values.iter().zip(quants).zip(row.scales.iter_mut()) {
        // SAFETY: WIDTH divides 16, so the loop covers the block exactly.
        unsafe {
            let largest = largest_magnitude::<L>(values);
            *scale = largest / 127.0;
            let inverse = steps_in_one(127.0, largest);
            for begin in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
                let value = L::mul(L::load(values[begin..].as_ptr()), L::splat(inverse));
                L::store_bytes(quants[begin..].as_mut_ptr(), L::round(value));
            }
        }
    }
    // Apart from the loop above, whose small stores a wide load would have to wait for.
    for block in 0..values.len() {
        // SAFETY: a block's bytes.
        let sums =
            unsafe { L::half_sums(row.quants[block * BLOCK_INPUTS..][..BLOCK_INPUTS].as_ptr()) };
        row.describe_block(block, row.scales[block], sums);
    }
}

/// Quantizes one row to words.
///
/// # Safety
///
/// As `quantize`.
#[inline(always)]
pub(crate) unsafe fn quantize_words<L: Lanes>(input: &[f32], row: &mut WordRowMut<'_>) {
    let blocks = input.as_chunks::<BLOCK_INPUTS>().0.iter();
    let words = row.words.as_chunks_mut::<BLOCK_INPUTS>().0;
    for ((values, words), scale) in blocks.zip(words).zip(row.scales.iter_mut()) {
        // SAFETY: WIDTH divides 16, so the loop covers the block exactly.
        unsafe {
            let largest = largest_magnitude::<L>(values);
            *scale = largest / LARGEST_WORD;
            let inverse = steps_in_one(LARGEST_WORD, largest);
            for begin in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
                let value = L::mul(L::load(values[begin..].as_ptr()), L::splat(inverse));
                L::store_words(words[begin..].as_mut_ptr(), L::round(value));
            }
        }
    }
}

/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
unsafe fn largest_magnitude<L: Lanes>(values: &[f32; BLOCK_INPUTS]) -> f32 {
    // SAFETY: WIDTH divides 16, so the loop covers the block exactly.
    unsafe {
        let mut largest = L::splat(0.0);
        for begin in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
            largest = L::max(largest, L::abs(L::load(values[begin..].as_ptr())));
        }
        L::maximum(largest)
    }
}
