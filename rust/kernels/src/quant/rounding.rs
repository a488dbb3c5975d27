//! The arithmetic that the encoders share.
//!
//! Encoders equal those of the Python package `gguf` in every byte, also where scales underflow or
//! overflow, so sums and products are in its order and in `f32`. What may differ: which NaN stands
//! for NaN, and the sign of a minimum of zero in a block that has zeros of both signs.

/// The first value of largest magnitude; a NaN counts as largest.
#[inline(always)]
pub(super) fn largest_magnitude(values: &[f32; 32]) -> f32 {
    let largest = folded(values, f32::abs, |a, b| if b > a { b } else { a });
    // Where a NaN came in between, nothing can be said of what stands beside it.
    if values.iter().fold(false, |any, value| any | value.is_nan()) {
        let is_nan = values.iter().copied().find(|value| value.is_nan());
        return is_nan.unwrap_or(f32::NAN);
    }
    let at_place = values.map(|value| value.abs() == largest);
    let first = at_place.into_iter().position(|is_it| is_it);
    values[first.unwrap_or(0)]
}

/// Smallest and largest value; both NaN if one value is.
#[inline(always)]
pub(super) fn range(values: &[f32; 32]) -> (f32, f32) {
    if values.iter().fold(false, |any, value| any | value.is_nan()) {
        return (f32::NAN, f32::NAN);
    }
    (
        folded(values, |value| value, |a, b| if b < a { b } else { a }),
        folded(values, |value| value, |a, b| if b > a { b } else { a }),
    )
}

/// All values joined, in an order of which vectors can be made.
#[inline(always)]
fn folded(values: &[f32; 32], of: impl Fn(f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut joined = values.map(of);
    let mut width = 16;
    while width > 0 {
        let (first, second) = joined.split_at_mut(width);
        for (a, b) in first.iter_mut().zip(second) {
            *a = join(*a, *b);
        }
        width /= 2;
    }
    joined[0]
}

/// `1 / scale`, or zero for a block of zeros.
#[inline(always)]
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The low byte of each value truncated to an integer; zero where no `i32` holds it (infinities, NaN).
///
/// Tiny scales have an infinite inverse, so this does happen.
#[inline(always)]
pub(super) fn low_bytes(values: [f32; 32]) -> [u8; 32] {
    /// From here on a sum has no bits for a fraction, and below it the integer in its lowest ones.
    const WHOLE: f32 = 12_582_912.0;
    const LIMIT: f32 = 2_147_483_648.0;
    if values
        .iter()
        .fold(true, |all, value| all & (value.abs() < WHOLE / 4.0))
    {
        return values.map(|value| (value.trunc() + WHOLE).to_bits() as u8);
    }
    values.map(|value| {
        if (-LIMIT..LIMIT).contains(&value) {
            value as i32 as u8
        } else {
            0
        }
    })
}
