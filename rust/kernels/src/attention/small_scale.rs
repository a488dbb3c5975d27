//! Scales of eight bits: of numbers that have three bits themselves a scale of 32 would be a sixth more.

/// A zero, of vectors that are stored as zeros.
const ZERO: u8 = 0;
/// A vector of which a number is infinite or none, or beyond what the largest scale reaches.
const NONE: u8 = u8::MAX;
/// Steps from one power of two to the next.
const STEPS: i32 = 4;
/// The codes of f32's exponents before those of a code begin: the smallest scale is about 2^-40.
const BEFORE: i32 = (127 - 40) * STEPS;
/// Bits of f32's mantissa below those of a code.
const BELOW: u32 = 21;

/// The largest code whose scale is not above a number that is neither below zero nor NaN; of those that have none, the one
/// that would come before the first or behind the last.
pub(super) fn code_below(number: f32) -> i32 {
    let code = (number.to_bits() >> BELOW) as i32 - BEFORE;
    code.clamp(i32::from(ZERO), i32::from(NONE))
}

/// The scales of a few codes around one, without zero and without what is none.
pub(super) fn scales_around(code: i32, below: i32, above: i32) -> impl Iterator<Item = f32> {
    let codes = (code - below).max(i32::from(ZERO) + 1)..=(code + above).min(i32::from(NONE) - 1);
    codes.map(|code| scale(code as u8))
}

/// What a code stands for.
pub(super) fn scale(code: u8) -> f32 {
    match code {
        ZERO => 0.0,
        NONE => f32::NAN,
        _ => f32::from_bits(((i32::from(code) + BEFORE) as u32) << BELOW),
    }
}

/// The code of a scale.
pub(super) fn code(scale: f32) -> u8 {
    if scale.is_nan() {
        return NONE;
    }
    code_below(scale) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_scales_are_the_same_thing() {
        let scales: Vec<f32> = (0..NONE).map(scale).collect();
        assert!(scales.is_sorted());
        assert_eq!(scales[0], 0.0);
        // From one to the next it is a quarter of a power of two.
        for pair in scales[1..].windows(2) {
            assert!((1.14..=1.25).contains(&(pair[1] / pair[0])), "{pair:?}");
        }
        assert!(scales[1] < 1.2e-12 && scales[254] > 1.2e7);
        assert!(scale(NONE).is_nan());
        for known in 0..=NONE {
            assert_eq!(code(scale(known)), known);
        }
    }

    #[test]
    fn the_code_below_a_number() {
        for (number, expected) in [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.24, 1.0),
            (1.25, 1.25),
            (7.9, 7.0),
        ] {
            assert_eq!(scale(code_below(number) as u8), expected);
        }
        assert_eq!(code_below(1e-20), 0);
        assert_eq!(code_below(1e30), i32::from(NONE));
        let around: Vec<f32> = scales_around(code_below(2.0), 2, 1).collect();
        assert_eq!(around, [1.5, 1.75, 2.0, 2.5]);
        assert_eq!(scales_around(0, 3, 1).count(), 1);
        assert_eq!(scales_around(255, 3, 1).count(), 3);
    }
}
