//! Activations in 8 bits: each block of 32 gets the scale `max|x| / 127`.

use crate::matmul::QuantizedRowMut;
use crate::pack::BLOCK_INPUTS;
use crate::simd::Lanes;

/// Quantizes one row.
///
/// # Safety
///
/// Needs the instruction set of `L`; the row's slices fit `input`, which is whole blocks.
#[inline(always)]
pub(crate) unsafe fn quantize<L: Lanes>(input: &[f32], row: &mut QuantizedRowMut<'_>) {
    for (block, values) in input.as_chunks::<BLOCK_INPUTS>().0.iter().enumerate() {
        let mut rounded = [0.0f32; BLOCK_INPUTS];
        // SAFETY: WIDTH divides 16, so the loops cover the block exactly.
        let scale = unsafe {
            let mut largest = L::splat(0.0);
            for begin in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
                largest = L::max(largest, L::abs(L::load(values[begin..].as_ptr())));
            }
            let largest = L::maximum(largest);
            let inverse = L::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            for begin in (0..BLOCK_INPUTS).step_by(L::WIDTH) {
                let value = L::round(L::mul(L::load(values[begin..].as_ptr()), inverse));
                L::store(rounded[begin..].as_mut_ptr(), value);
            }
            largest / 127.0
        };
        let quants = &mut row.quants[block * BLOCK_INPUTS..][..BLOCK_INPUTS];
        let mut sums = [0i32; 2];
        for (half, sum) in sums.iter_mut().enumerate() {
            for input in half * 16..half * 16 + 16 {
                let quant = rounded[input] as i32;
                quants[input] = quant as i8;
                *sum += quant;
            }
            row.half_sums[2 * block + half] = scale * *sum as f32;
        }
        row.scales[block] = scale;
        row.block_sums[block] = scale * (sums[0] + sums[1]) as f32;
    }
}
