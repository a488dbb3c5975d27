//! Sums of exponentials: of a row, stable under any offset, and of its blocks.

use crate::kernels::WEIGHT_BLOCK;
use crate::simd::{Lanes, exp};

/// Below it an exponential counts as nothing; the last that is a normal number.
pub(crate) const LEAST_EXPONENT: f32 = -87.0;

/// `ln(sum(e^x))`; -infinity for no values.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
unsafe fn log_sum_exp<L: Lanes>(values: &[f32]) -> f32 {
    let (whole, rest) = values.split_at(values.len() / L::WIDTH * L::WIDTH);
    let mut highest = rest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // SAFETY: `whole` is whole vectors; a vector's lanes go to an array of 16.
    unsafe {
        let mut maximum = L::splat(f32::NEG_INFINITY);
        for part in whole.chunks_exact(L::WIDTH) {
            maximum = L::max(maximum, L::load(part.as_ptr()));
        }
        highest = highest.max(L::maximum(maximum));
        if !highest.is_finite() {
            return highest;
        }
        let offset = L::splat(highest);
        let mut total = 0.0f64;
        // Sums of a few hundred values in f32, those of the vocabulary in f64.
        for chunk in whole.chunks(256) {
            let mut sum = L::splat(0.0);
            for part in chunk.chunks_exact(L::WIDTH) {
                sum = L::add(sum, exp::<L>(L::sub(L::load(part.as_ptr()), offset)));
            }
            total += f64::from(L::sum(sum));
        }
        for value in rest {
            total += f64::from(value - highest).exp();
        }
        highest + total.ln() as f32
    }
}

/// Sums of weights, block by block; see `Kernels::weight_sums`.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn weight_sums<L: Lanes>(
    values: &[f32],
    (maximum, inverse_temperature): (f32, f32),
    sums: &mut [f32],
) {
    for (block, sum) in values.chunks(WEIGHT_BLOCK).zip(sums) {
        // SAFETY: lanes beyond the block are loaded as 0 and then masked.
        unsafe {
            let mut total = L::splat(0.0);
            for begin in (0..block.len()).step_by(L::WIDTH) {
                let count = (block.len() - begin).min(L::WIDTH);
                let value = L::load_partial(block.as_ptr().add(begin), count);
                let distance = L::sub(value, L::splat(maximum));
                let exponent = L::mul(distance, L::splat(inverse_temperature));
                let exponent = L::mask_range(exponent, 0, count);
                let weight = exp::<L>(L::min(exponent, L::splat(0.0)));
                // Once more with the exponent itself, because NaN may have become 0 above.
                let least = L::splat(LEAST_EXPONENT);
                total = L::add(total, L::keep_from(exponent, least, weight));
            }
            *sum = L::sum(total);
        }
    }
}

/// Softmax of one row.
///
/// # Safety
///
/// Needs the instruction set of `L`; `output` is as long as `input`.
#[inline(always)]
pub(crate) unsafe fn softmax<L: Lanes>(input: &[f32], output: &mut [f32]) {
    // SAFETY: partial loads and stores keep to the slices.
    unsafe {
        let total = log_sum_exp::<L>(input);
        if input.iter().any(|value| value.is_nan()) || !total.is_finite() {
            return crate::reference::softmax(input, output);
        }
        for begin in (0..input.len()).step_by(L::WIDTH) {
            let count = input.len() - begin;
            let value = L::load_partial(input.as_ptr().add(begin), count);
            let weight = exp::<L>(L::sub(value, L::splat(total)));
            L::store_partial(output.as_mut_ptr().add(begin), weight, count);
        }
    }
}
