//! Exponentials under the maximum: the shares of a row, stable under any offset, and sums of its blocks.

use crate::plain::{self, LEAST_EXPONENT, WEIGHT_BLOCK};
use crate::simd::{Lanes, exp};

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

/// Values whose weights are added in f32; the sums of such chunks are added in f64.
const CHUNK: usize = 256;

/// Softmax of one row: `e^(x - maximum) / sum`. The other way, `e^(x - ln(sum(e^x)))`, rounds the
/// logarithm, which is as large as the offset, and with it every exponent.
///
/// # Safety
///
/// Needs the instruction set of `L`; `output` is as long as `input`.
#[inline(always)]
pub(crate) unsafe fn softmax<L: Lanes>(input: &[f32], output: &mut [f32]) {
    // SAFETY: partial loads and stores keep to the slices; lanes beyond them are -infinity, and weigh 0.
    unsafe {
        let load = |values: &[f32], begin: usize| {
            let count = (values.len() - begin).min(L::WIDTH);
            L::mask_range(L::load_partial(values.as_ptr().add(begin), count), 0, count)
        };
        let mut maximum = L::splat(f32::NEG_INFINITY);
        for begin in (0..input.len()).step_by(L::WIDTH) {
            maximum = L::max(maximum, load(input, begin));
        }
        let highest = L::maximum(maximum);
        if !highest.is_finite() || input.iter().any(|value| value.is_nan()) {
            return plain::softmax(input, output);
        }
        let mut total = 0.0f64;
        for (input, output) in input.chunks(CHUNK).zip(output.chunks_mut(CHUNK)) {
            let mut sum = L::splat(0.0);
            for begin in (0..input.len()).step_by(L::WIDTH) {
                let weight = exp::<L>(L::sub(load(input, begin), L::splat(highest)));
                sum = L::add(sum, weight);
                let count = input.len() - begin;
                L::store_partial(output.as_mut_ptr().add(begin), weight, count);
            }
            total += f64::from(L::sum(sum));
        }
        let share = L::splat((1.0 / total) as f32);
        for begin in (0..output.len()).step_by(L::WIDTH) {
            let count = output.len() - begin;
            let weight = output.as_mut_ptr().add(begin);
            L::store_partial(weight, L::mul(L::load_partial(weight, count), share), count);
        }
    }
}
