//! RMSNorm: `y = x / sqrt(mean(x^2) + epsilon) * weight`.

use crate::simd::Lanes;

/// Norms one row.
///
/// # Safety
///
/// Needs the instruction set of `L`; the three slices are of one length.
#[inline(always)]
pub(crate) unsafe fn rms_norm<L: Lanes>(
    input: &[f32],
    weight: &[f32],
    epsilon: f32,
    output: &mut [f32],
) {
    let length = input.len();
    // SAFETY: partial loads and stores keep to the slices.
    unsafe {
        let mut squares = L::splat(0.0);
        for begin in (0..length).step_by(L::WIDTH) {
            let value = L::load_partial(input.as_ptr().add(begin), length - begin);
            squares = L::fma(value, value, squares);
        }
        let factor = L::splat(1.0 / (L::sum(squares) / length as f32 + epsilon).sqrt());
        for begin in (0..length).step_by(L::WIDTH) {
            let count = length - begin;
            let value = L::load_partial(input.as_ptr().add(begin), count);
            let weight = L::load_partial(weight.as_ptr().add(begin), count);
            let normed = L::mul(L::mul(value, factor), weight);
            L::store_partial(output.as_mut_ptr().add(begin), normed, count);
        }
    }
}

/// Adds one row to another.
///
/// # Safety
///
/// As `rms_norm`.
#[inline(always)]
pub(crate) unsafe fn add<L: Lanes>(input: &[f32], accumulator: &mut [f32]) {
    let length = input.len();
    // SAFETY: partial loads and stores keep to the slices.
    unsafe {
        for begin in (0..length).step_by(L::WIDTH) {
            let count = length - begin;
            let target = accumulator.as_mut_ptr().add(begin);
            let sum = L::add(
                L::load_partial(target, count),
                L::load_partial(input.as_ptr().add(begin), count),
            );
            L::store_partial(target, sum, count);
        }
    }
}
