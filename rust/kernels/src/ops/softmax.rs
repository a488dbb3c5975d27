//! The logarithm of a sum of exponentials, stable under any offset.

use crate::simd::{Lanes, exp};

/// `ln(sum(e^x))`; -infinity for no values.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn log_sum_exp<L: Lanes>(values: &[f32]) -> f32 {
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
