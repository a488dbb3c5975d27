//! The arithmetic that the encoders share.
//!
//! Encoders equal those of the Python package `gguf` in every byte, also where scales underflow or
//! overflow, so sums and products are in its order and in `f32`. What may differ: which NaN stands
//! for NaN, and the sign of a minimum of zero in a block that has zeros of both signs.

/// The first value of largest magnitude; a NaN counts as largest.
pub(super) fn largest_magnitude(values: &[f32; 32]) -> f32 {
    values[1..].iter().fold(values[0], |largest, &value| {
        let larger = value.abs() > largest.abs() || (value.is_nan() && !largest.is_nan());
        if larger { value } else { largest }
    })
}

/// Smallest and largest value; both NaN if one value is.
pub(super) fn range(values: &[f32; 32]) -> (f32, f32) {
    values[1..]
        .iter()
        .fold((values[0], values[0]), |(minimum, maximum), &value| {
            if value.is_nan() {
                return (value, value);
            }
            let smaller = value < minimum;
            let larger = value > maximum;
            (
                if smaller { value } else { minimum },
                if larger { value } else { maximum },
            )
        })
}

/// `1 / scale`, or zero for a block of zeros.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The low byte of `value` truncated to an integer; zero where no `i32` holds it (infinities, NaN).
///
/// Tiny scales have an infinite inverse, so this does happen.
pub(super) fn low_byte(value: f32) -> u8 {
    const LIMIT: f32 = 2_147_483_648.0;
    if (-LIMIT..LIMIT).contains(&value) {
        value as i32 as u8
    } else {
        0
    }
}
