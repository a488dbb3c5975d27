//! Numbers of three bits: one of eight levels each, which lie closer where more numbers are.
//!
//! Heads are turned before they are stored, so that their numbers are spread as those of a normal distribution are; these are
//! the eight levels that fit it best (Lloyd and Max), as whole numbers that fill a byte. Sixteen rows of sixteen columns share
//! 96 bytes: of each column first two bits of each row, four bytes, and behind those of all columns the third bit of each row,
//! two bytes; even rows before odd ones, so that a pair is one shift away from its two words. So one vector holds all that a
//! column adds up in eight steps.

use super::layout::{BLOCK_TOKENS, Side};
use super::packing::{Packing, Widened, bytes_of};
use super::scale::Scale;
use super::small_scale;
use crate::simd::Lanes;
use crate::simd::pairs::{LEVELS, Pairs};

/// Rows that share elements, and columns that stand together.
const SQUARE: usize = 16;
/// Bytes of a column's first two bits, and of its third ones.
const TWO_BITS: usize = SQUARE * 2 / 8;
const THIRD_BITS: usize = SQUARE / 8;
/// Bytes of a square.
const SQUARE_BYTES: usize = SQUARE * (TWO_BITS + THIRD_BITS);
const _: () = assert!(SQUARE == BLOCK_TOKENS);

/// Where one level ends and the next begins.
const BORDERS: [f32; 7] = {
    let mut borders = [0.0; 7];
    let mut index = 0;
    while index < borders.len() {
        borders[index] = f32::midpoint(LEVELS[index] as f32, LEVELS[index + 1] as f32);
        index += 1;
    }
    borders
};
/// Where the largest number stands under a scale that cuts off little: the search begins there.
const END: f32 = 135.0;

/// Sixteen rows in 96 bytes for sixteen columns: sixteen dimensions of a key, sixteen tokens of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Eighths;

impl Packing for Eighths {
    type Element = i8;
    const STEPS: usize = SQUARE / 2;
    const ELEMENTS: usize = TWO_BITS + THIRD_BITS;
    const MOST_WEIGHED: f32 = LEVELS[7] as f32;

    #[inline(always)]
    fn planes(column: usize) -> [usize; 2] {
        let (square, column) = (column / SQUARE * SQUARE_BYTES, column % SQUARE);
        [
            square + column * TWO_BITS,
            square + SQUARE * TWO_BITS + column * THIRD_BITS,
        ]
    }
    #[inline(always)]
    fn scale(_: Side, numbers: &[f32]) -> Scale {
        of_levels(numbers)
    }
    #[inline(always)]
    fn write_scale(scales: &mut [i8], (side, token): (Side, usize), unit: f32) {
        scales[side.index(token)] = small_scale::code(unit) as i8;
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        panel: *mut i8,
        (row, column, width): (usize, usize, usize),
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    ) {
        let even = bytes_of(lanes, levels(lanes, vectors[0], factors[0]));
        let odd = bytes_of(lanes, levels(lanes, vectors[1], factors[1]));
        // SAFETY: the panel has the two rows, and as many columns behind `column` as a vector is long.
        unsafe {
            let rows = panel.add(row / SQUARE * width * Self::ELEMENTS);
            for (lane, codes) in even.into_iter().zip(odd).enumerate().take(L::WIDTH) {
                let [two, third] = Self::planes(column + lane).map(|plane| rows.add(plane));
                let (two, third) = (two.cast::<u32>(), third.cast::<u16>());
                let column = (two.read_unaligned(), third.read_unaligned());
                let column = with_pair(column, row % SQUARE / 2, [codes.0, codes.1]);
                two.write_unaligned(column.0);
                third.write_unaligned(column.1);
            }
        }
    }
    #[inline(always)]
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [i8; BLOCK_TOKENS] {
        bytes_of(lanes, levels(lanes, vector, lanes.splat(factor)))
    }
    #[inline(always)]
    fn part(number: f32, scale: Scale) -> i8 {
        level(number * scale.inverse)
    }
    #[inline(always)]
    fn put(numbers: &mut [i8], (row, column): (usize, usize), width: usize, code: i8) {
        let rows = &mut numbers[row / SQUARE * width * Self::ELEMENTS..];
        let ([two, third], code) = (Self::planes(column), code as u8);
        let row = row % SQUARE;
        let mut change = |place: usize, mask: u8, bits: u8, shift: usize| {
            rows[place] = ((rows[place] as u8 & !(mask << shift)) | (bits << shift)) as i8;
        };
        change(two + row % 2 * 2 + row / 8, 3, code & 3, row / 2 % 4 * 2);
        change(third + row % 2, 1, code >> 2, row / 2);
    }
    fn number(numbers: &[i8], (row, column): (usize, usize), width: usize) -> f32 {
        let rows = &numbers[row / SQUARE * width * Self::ELEMENTS..];
        let [two, third] = Self::planes(column);
        let row = row % SQUARE;
        let low = (rows[two + row % 2 * 2 + row / 8] as u8 >> (row / 2 % 4 * 2)) & 3;
        let high = (rows[third + row % 2] as u8 >> (row / 2)) & 1;
        f32::from(LEVELS[usize::from(low | high << 2)])
    }
}

/// A column with other numbers in a pair of rows: the even row's among the lower half of the bits, the odd one's among the
/// upper half. As they stand in memory: the lowest byte first.
#[inline(always)]
fn with_pair((two, third): (u32, u16), pair: usize, codes: [i8; 2]) -> (u32, u16) {
    let [even, odd] = codes.map(|code| u32::from(code as u8));
    let two_bits = (even & 3) | (odd & 3) << 16;
    let third_bits = ((even >> 2) | (odd >> 2) << 8) as u16;
    let (two, third) = (u32::from_le(two), u16::from_le(third));
    let two = (two & !(0x0003_0003 << (2 * pair))) | two_bits << (2 * pair);
    let third = (third & !(0x0101 << pair)) | third_bits << pair;
    (two.to_le(), third.to_le())
}

/// The codes of the levels that lanes are nearest to; what is no number becomes the lowest.
#[inline(always)]
fn levels<L: Lanes>(lanes: L, vector: L::Vector, factors: L::Vector) -> L::Vector {
    let scaled = lanes.mul(vector, factors);
    let one = lanes.splat(1.0);
    let mut code = lanes.splat(0.0);
    for border in BORDERS {
        code = lanes.add(code, lanes.keep_from(scaled, lanes.splat(border), one));
    }
    code
}

/// The same of one number.
#[inline(always)]
fn level(scaled: f32) -> i8 {
    BORDERS
        .iter()
        .map(|border| i8::from(scaled >= *border))
        .sum()
}

/// The scale whose levels leave the smallest error over the vector, of the few that may.
#[inline(always)]
fn of_levels(vector: &[f32]) -> Scale {
    let largest = Scale::largest(vector);
    if !largest.is_finite() {
        return Scale::of(f32::NAN, 0.0);
    }
    let nearest = small_scale::code_below(largest / END);
    if small_scale::scale(nearest as u8).is_nan() {
        return Scale::of(f32::NAN, 0.0);
    }
    let mut best = Scale::of(0.0, 0.0);
    let mut most = 0.0;
    // What stands out may be cut off for the sake of the rest.
    for unit in small_scale::scales_around(nearest, 3, 1) {
        let inverse = 1.0 / unit;
        // The same sixteen sums on every instruction set, in units, so that nothing overflows.
        let (mut products, mut squares) = ([0.0f32; 16], [0.0f32; 16]);
        for numbers in vector.chunks(16) {
            for (lane, number) in numbers.iter().enumerate() {
                let scaled = number * inverse;
                let mut found = f32::from(LEVELS[0]);
                for (index, border) in BORDERS.iter().enumerate() {
                    let step = f32::from(LEVELS[index + 1]) - f32::from(LEVELS[index]);
                    found += if scaled >= *border { step } else { 0.0 };
                }
                products[lane] += found * scaled;
                squares[lane] += found * found;
            }
        }
        let [product, square] = [products, squares].map(|sums| sums.iter().sum::<f32>());
        // How much smaller the error's square is than the vector's own, in units that all scales share.
        let ratio = unit / largest;
        let covered = (2.0 * product - square) * ratio * ratio;
        if covered > most {
            (most, best) = (covered, Scale::of(unit, inverse));
        }
    }
    best
}

impl Widened for Eighths {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, planes: [*const i8; 2], step: usize) -> P::Words {
        // SAFETY: what the caller promises: the first plane has four bytes of each lane, the second one two.
        unsafe { pairs.load_eighths(planes, step) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of a normal distribution, by Box and Muller.
    fn normal(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut even = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            ((state >> 40) as f32 + 0.5) / (1 << 24) as f32
        };
        let mut next = || (-2.0 * even().ln()).sqrt() * (std::f32::consts::TAU * even()).cos();
        (0..count).map(|_| next()).collect()
    }

    fn error(vector: &[f32]) -> f32 {
        let scale = of_levels(vector);
        let stored =
            |number: f32| scale.unit * f32::from(LEVELS[Eighths::part(number, scale) as usize]);
        let errors = vector
            .iter()
            .map(|number| (number - stored(*number)).powi(2));
        errors.sum::<f32>() / vector.iter().map(|number| number * number).sum::<f32>()
    }

    /// Eight levels leave at best 0.03454 of a normal distribution's square (Max, 1960), and of few numbers less, for which a
    /// scale of their own is found.
    #[test]
    fn the_error_is_that_of_eight_levels() {
        let numbers = normal(64 * 400);
        let mean = |length: usize| {
            // Of every size between two powers of two, since there are but four scales from one to the next.
            let of_size = |(index, numbers): (usize, &[f32])| {
                let size = 2f32.powf(index as f32 / 16.0);
                error(
                    &numbers
                        .iter()
                        .map(|number| number * size)
                        .collect::<Vec<_>>(),
                )
            };
            let errors: Vec<f32> = numbers.chunks(length).enumerate().map(of_size).collect();
            errors.iter().sum::<f32>() / errors.len() as f32
        };
        assert!(
            (0.0335..0.0365).contains(&mean(numbers.len())),
            "{}",
            mean(numbers.len())
        );
        assert!((0.028..0.033).contains(&mean(64)), "{}", mean(64));
        for size in [1e-8, 1e-3, 3.0, 1e7] {
            let scaled: Vec<f32> = numbers[..64].iter().map(|number| number * size).collect();
            assert!(error(&scaled) < 0.04, "{size}");
        }
    }

    #[test]
    fn vectors_without_a_scale() {
        for small in [0.0, -0.0, 1e-40, 1e-12] {
            assert_eq!(of_levels(&[small, -small]).unit, 0.0);
        }
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e10] {
            assert!(of_levels(&[1.0, strange]).unit.is_nan(), "{strange}");
        }
        assert_eq!((level(f32::NAN), level(-1e9), level(1e9)), (0, 0, 7));
    }

    #[test]
    fn a_number_changes_no_other() {
        let width = 32;
        let mut panel = vec![0; 2 * SQUARE * width * 3 / 8];
        let code = |row: usize, column: usize| ((row * 5 + column * 3) % 8) as i8;
        for row in (0..2 * SQUARE).rev() {
            for column in 0..width {
                Eighths::put(&mut panel, (row, column), width, code(row, column));
            }
        }
        for row in 0..2 * SQUARE {
            for column in 0..width {
                let expected = f32::from(LEVELS[code(row, column) as usize]);
                assert_eq!(Eighths::number(&panel, (row, column), width), expected);
            }
        }
    }
}
