//! How numbers of keys or values stand in a block: each an element, or two in a byte.

use super::layout::{BLOCK_TOKENS, Side, place};
use super::scale::{LEAST_HALF, MOST_HALF, Scale};
use super::stored::{Stored, write_scale};
use crate::simd::Lanes;
use crate::simd::pairs::Pairs;

/// How the numbers of one side stand in rows: those of a key's dimension by token, those of a value's token by dimension.
pub(crate) trait Packing: Copy {
    /// What they stand in.
    type Element: Stored;
    /// Steps whose numbers share elements.
    const STEPS: usize = 1;
    /// Elements that a lane takes in so many steps.
    const ELEMENTS: usize;
    /// The largest magnitude of what meets weights.
    const MOST_WEIGHED: f32;

    /// Where the elements of a column begin in those of all, in each of the planes that they stand in.
    #[inline(always)]
    fn planes(column: usize) -> [usize; 2] {
        [column * Self::ELEMENTS; 2]
    }
    /// The scale of a key or value.
    fn scale(side: Side, numbers: &[f32]) -> Scale;
    /// Writes a token's scale to its place among those of a head.
    #[inline(always)]
    fn write_scale(scales: &mut [Self::Element], place: (Side, usize), unit: f32) {
        write_scale(scales, place, unit);
    }
    /// Writes vectors of rows that are multiplied together, each lane times its factor: rows of `width` columns, from a row
    /// and a column on. The first row is a whole number of what is multiplied together.
    ///
    /// # Safety
    ///
    /// `panel` is valid to read and to write for all that shares elements with these rows, which have as many columns behind
    /// the first as a vector has lanes.
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        panel: *mut Self::Element,
        place: (usize, usize, usize),
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    );
    /// What each number of a vector becomes.
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [Self::Element; BLOCK_TOKENS];
    /// The same of one number: the plain program.
    fn part(number: f32, scale: Scale) -> Self::Element;
    /// Writes it to its place, `(row, column)`, among rows of `width`.
    fn put(numbers: &mut [Self::Element], place: (usize, usize), width: usize, part: Self::Element);
    /// What stands there, before its scale.
    fn number(numbers: &[Self::Element], place: (usize, usize), width: usize) -> f32;
}

/// What is widened to words as it is read.
pub(crate) trait Widened: Packing {
    /// What meets in one of the steps that share elements.
    ///
    /// # Safety
    ///
    /// Each plane is valid for what it holds of each lane, and the step is below [`STEPS`](Packing::STEPS).
    unsafe fn load<P: Pairs>(pairs: P, planes: [*const Self::Element; 2], step: usize) -> P::Words;
}

/// Numbers that are an element each.
pub(crate) trait Whole: Stored {
    /// The largest magnitude of a number of a value.
    const MOST_VALUE: f32;

    /// The scale of a value.
    fn value_scale(value: &[f32]) -> Scale;
    /// One number as it is stored.
    fn element(number: f32, scale: Scale) -> Self;
}

impl Whole for f32 {
    const MOST_VALUE: f32 = f32::MAX;

    #[inline(always)]
    fn value_scale(_: &[f32]) -> Scale {
        Scale::NONE
    }
    #[inline(always)]
    fn element(number: f32, _: Scale) -> Self {
        number
    }
}

impl Whole for i16 {
    /// With it a segment's weights can be words too, and their products with the values of all its tokens fit into 32 bits.
    const MOST_VALUE: f32 = 4095.0;

    #[inline(always)]
    fn value_scale(value: &[f32]) -> Scale {
        Scale::of_largest(value, Self::MOST_VALUE)
    }
    #[inline(always)]
    fn element(number: f32, scale: Scale) -> Self {
        scale.integer(number, Self::MOST) as i16
    }
}

impl Whole for i8 {
    const MOST_VALUE: f32 = Self::MOST;

    #[inline(always)]
    fn value_scale(value: &[f32]) -> Scale {
        Scale::of_largest(value, Self::MOST_VALUE)
    }
    #[inline(always)]
    fn element(number: f32, scale: Scale) -> Self {
        scale.integer(number, Self::MOST) as i8
    }
}

impl<S: Whole> Packing for S {
    type Element = S;
    const ELEMENTS: usize = S::TOGETHER;
    const MOST_WEIGHED: f32 = S::MOST_VALUE;

    #[inline(always)]
    fn scale(side: Side, numbers: &[f32]) -> Scale {
        match side {
            Side::Key => S::key_scale(numbers),
            Side::Value => S::value_scale(numbers),
        }
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        panel: *mut S,
        (row, column, width): (usize, usize, usize),
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    ) {
        let first = S::scaled(lanes, vectors[0], factors[0]);
        let second = S::scaled(lanes, vectors[1], factors[1]);
        // SAFETY: what the caller promises.
        unsafe {
            let target = panel.add((row / S::TOGETHER * width + column) * S::TOGETHER);
            <S as Stored>::store_together(lanes, target, [first, second]);
        }
    }
    #[inline(always)]
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [S; BLOCK_TOKENS] {
        let mut parts = [S::ZERO; BLOCK_TOKENS];
        let scaled = S::scaled(lanes, vector, lanes.splat(factor));
        // SAFETY: a vector is at most as long as the array.
        unsafe { S::store(lanes, parts.as_mut_ptr(), scaled) };
        parts
    }
    #[inline(always)]
    fn part(number: f32, scale: Scale) -> S {
        S::element(number, scale)
    }
    #[inline(always)]
    fn put(numbers: &mut [S], at: (usize, usize), width: usize, part: S) {
        numbers[place(at, width, S::TOGETHER)] = part;
    }
    fn number(numbers: &[S], at: (usize, usize), width: usize) -> f32 {
        numbers[place(at, width, S::TOGETHER)].number()
    }
}

/// Two rows in a byte, the first one in its low half: two tokens of a value, two dimensions of a key. A half `h` of -8..=7
/// stands for the odd number `2h + 1`, so that none is wasted on zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Halves;

/// How many halves there are.
const SIXTEEN: f32 = 16.0;

impl Packing for Halves {
    type Element = i8;
    const ELEMENTS: usize = 1;
    const MOST_WEIGHED: f32 = 2.0 * MOST_HALF + 1.0;

    #[inline(always)]
    fn scale(_: Side, numbers: &[f32]) -> Scale {
        Scale::of_halves(numbers)
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        panel: *mut i8,
        (row, column, width): (usize, usize, usize),
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    ) {
        let low = halves(lanes, vectors[0], factors[0]);
        let high = halves(lanes, vectors[1], factors[1]);
        // The low half without its sign: sixteen more where it is below zero.
        let below = lanes.max(lanes.sub(lanes.splat(0.0), low), lanes.splat(0.0));
        let below = lanes.min(below, lanes.splat(1.0));
        let sixteen = lanes.splat(SIXTEEN);
        let low = lanes.fma(below, sixteen, low);
        // SAFETY: the caller has a byte of each lane there.
        unsafe {
            let target = panel.add(row / 2 * width + column);
            lanes.store_bytes(target, lanes.fma(high, sixteen, low));
        }
    }
    #[inline(always)]
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [i8; BLOCK_TOKENS] {
        bytes_of(lanes, halves(lanes, vector, lanes.splat(factor)))
    }
    #[inline(always)]
    fn part(number: f32, scale: Scale) -> i8 {
        scale.half(number) as i8
    }
    #[inline(always)]
    fn put(numbers: &mut [i8], (row, column): (usize, usize), width: usize, half: i8) {
        let byte = &mut numbers[row / 2 * width + column];
        *byte = if row.is_multiple_of(2) {
            (*byte & !0xF) | (half & 0xF)
        } else {
            (*byte & 0xF) | (half << 4)
        };
    }
    fn number(numbers: &[i8], (row, column): (usize, usize), width: usize) -> f32 {
        let byte = numbers[row / 2 * width + column];
        let half = if row.is_multiple_of(2) {
            byte << 4 >> 4
        } else {
            byte >> 4
        };
        f32::from(2 * half + 1)
    }
}

/// Lanes that are whole numbers of a byte, and zeros behind them.
#[inline(always)]
pub(super) fn bytes_of<L: Lanes>(lanes: L, vector: L::Vector) -> [i8; BLOCK_TOKENS] {
    let mut bytes = [0; BLOCK_TOKENS];
    // SAFETY: a vector is at most as long as the array.
    unsafe { lanes.store_bytes(bytes.as_mut_ptr(), vector) };
    bytes
}

/// The halves that the lanes become; what is no number becomes the largest.
#[inline(always)]
fn halves<L: Lanes>(lanes: L, vector: L::Vector, factors: L::Vector) -> L::Vector {
    let scaled = lanes.mul(vector, factors);
    let rounded = lanes.round(lanes.sub(scaled, lanes.splat(0.5)));
    let cut = lanes.min(rounded, lanes.splat(MOST_HALF));
    lanes.max(cut, lanes.splat(LEAST_HALF))
}

impl Widened for i16 {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, [source, _]: [*const i16; 2], _: usize) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { pairs.load_words(source) }
    }
}

impl Widened for i8 {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, [source, _]: [*const i8; 2], _: usize) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { pairs.load_bytes(source) }
    }
}

impl Widened for Halves {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, [source, _]: [*const i8; 2], _: usize) -> P::Words {
        // SAFETY: what the caller promises: a byte is a pair.
        unsafe { pairs.load_halves(source) }
    }
}
