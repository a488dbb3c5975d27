//! A super-block as its groups side by side, with what an error at each element counts.

use half::f16;

use super::side::Side;

/// Elements of a super-block.
pub(in crate::quant) const ELEMENTS: usize = 256;
/// Blocks whose largest magnitude is below this are zeros in every format: no scale in half precision holds them.
const VANISHING: f32 = 9.094_947e-13;
/// The largest number of half precision.
const LARGEST_HALF: f32 = 65_504.0;

/// `G` groups of `E` values.
pub(in crate::quant) struct Groups<const G: usize, const E: usize> {
    /// Element by element, in units of `unit`: magnitudes are below 2, and the largest is 1 or more.
    pub(in crate::quant) values: [Side<G>; E],
    /// What the square of an error counts.
    pub(in crate::quant) weights: [Side<G>; E],
    /// A power of two, so that nothing is rounded by it.
    pub(in crate::quant) unit: f32,
}

impl<const G: usize, const E: usize> Groups<G, E> {
    /// `None` for what is stored as zeros. Large values count more, by their size beside that of their group.
    #[inline(always)]
    pub(in crate::quant) fn of(
        values: &[f32; ELEMENTS],
        importance: Option<&[f32; ELEMENTS]>,
    ) -> Option<Self> {
        const { assert!(G * E == ELEMENTS) };
        let largest = values.iter().fold(0.0_f32, |largest, value| {
            if value.abs() > largest {
                value.abs()
            } else {
                largest
            }
        });
        if largest < VANISHING {
            return None;
        }
        let unit = f32::from_bits(largest.to_bits() & 0x7f80_0000);
        let factor = 1.0 / unit;
        let values: [Side<G>; E] = std::array::from_fn(|element| {
            Side::from_fn(|group| values[group * E + element] * factor)
        });
        let mut squares = Side::splat(0.0);
        for value in values {
            squares = squares.plus(value.times(value));
        }
        let typical = Side::from_fn(|group| (squares.0[group] / E as f32).sqrt());
        let weights = std::array::from_fn(|element| {
            let weight = typical.plus(values[element].magnitude());
            match importance {
                Some(importance) => {
                    weight.times(Side::from_fn(|group| importance[group * E + element]))
                }
                None => weight,
            }
        });
        Some(Self {
            values,
            weights,
            unit,
        })
    }

    /// The number of half precision that is nearest to a scale, in bytes and in units of `unit`.
    ///
    /// Among the smallest, which are far apart, it is one that does not fall short: no multiple would make up for it.
    #[inline(always)]
    pub(in crate::quant) fn half(&self, scale: f32) -> ([u8; 2], f32) {
        let scale = (scale * self.unit).clamp(-LARGEST_HALF, LARGEST_HALF);
        let mut half = f16::from_f32(scale);
        if half.to_f32().abs() < scale.abs() * (1.0 - 1.0 / 1024.0) {
            half = f16::from_bits(half.to_bits() + 1);
        }
        (half.to_le_bytes(), half.to_f32() / self.unit)
    }
}

/// Codes in the order of the elements, moved up by `zero` so that none is negative.
#[inline(always)]
pub(in crate::quant) fn in_order<const G: usize, const E: usize>(
    codes: &[Side<G>; E],
    zero: f32,
) -> [u8; ELEMENTS] {
    let mut quants = [0; ELEMENTS];
    for (element, codes) in codes.iter().enumerate() {
        for (group, code) in codes.0.iter().enumerate() {
            quants[group * E + element] = (code + zero) as i32 as u8;
        }
    }
    quants
}
