//! The scales of 8-bit keys and values: one a vector, which so depends on no other token.

use super::layout::BLOCK_TOKENS;

/// The largest magnitude of a stored byte.
pub(super) const LARGEST_BYTE: f32 = 127.0;
/// A vector of smaller numbers is stored as zeros; the inverse of its scale would be infinite.
const LEAST_MAGNITUDE: f32 = 1e-30;

/// What turns a vector of floats into bytes, and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// A byte's unit; NaN where a number of the vector is infinite or none.
    pub(super) unit: f32,
    /// Bytes of a float's unit.
    pub(super) inverse: f32,
}

impl Scale {
    /// The scale that gives the largest magnitude the largest byte.
    #[inline(always)]
    pub(super) fn of(vector: &[f32]) -> Self {
        // Bits of magnitudes are ordered as the magnitudes are, with NaN above all.
        let bits = |value: &f32| value.abs().to_bits();
        let largest = f32::from_bits(vector.iter().map(bits).fold(0, u32::max));
        let (unit, inverse) = if !largest.is_finite() {
            (f32::NAN, 0.0)
        } else if largest < LEAST_MAGNITUDE {
            (0.0, 0.0)
        } else {
            (largest / LARGEST_BYTE, LARGEST_BYTE / largest)
        };
        Self { unit, inverse }
    }

    /// One number as it is stored: the plain program.
    pub(super) fn byte(self, value: f32) -> i8 {
        let scaled = (value * self.inverse).round_ties_even();
        // What is no number becomes the largest byte here and in every vector.
        (if scaled < LARGEST_BYTE {
            scaled
        } else {
            LARGEST_BYTE
        }) as i8
    }
}

/// Which of a token's two scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Key,
    Value,
}

impl Side {
    /// Where the scale of a token stands among those of a head, in bytes.
    #[inline(always)]
    pub(super) fn place(self, token: usize) -> usize {
        let first = match self {
            Self::Key => 0,
            Self::Value => BLOCK_TOKENS,
        };
        (first + token) * size_of::<f32>()
    }
}

/// The scale at `place`.
pub(super) fn read(bytes: &[i8], place: usize) -> f32 {
    f32::from_ne_bytes(std::array::from_fn(|index| bytes[place + index] as u8))
}

/// Writes the scale at `place`.
#[inline(always)]
pub(super) fn write(bytes: &mut [i8], place: usize, unit: f32) {
    let target = &mut bytes[place..][..size_of::<f32>()];
    target.copy_from_slice(&unit.to_ne_bytes().map(|byte| byte as i8));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_fills_the_bytes_whatever_its_size() {
        for largest in [1e-30, 1e-20, 0.3, 1.0, 65504.0, f32::MAX] {
            let vector = [largest, -largest, largest * 0.5, 0.0];
            let scale = Scale::of(&vector);
            assert!(scale.unit.is_finite() && scale.inverse.is_finite());
            assert_eq!(vector.map(|value| scale.byte(value)), [127, -127, 64, 0]);
            let ratio = f64::from(scale.unit) * f64::from(LARGEST_BYTE) / f64::from(largest);
            assert!((ratio - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn vectors_without_a_scale() {
        for vector in [[0.0, -0.0], [1e-40, -9e-31]] {
            let scale = Scale::of(&vector);
            assert_eq!((scale.unit, scale.byte(vector[1])), (0.0, 0));
        }
        for strange in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let scale = Scale::of(&[1.0, strange, 2.0]);
            assert!(scale.unit.is_nan());
            assert_eq!((scale.byte(1.0), scale.byte(strange)), (0, 127));
        }
    }
}
