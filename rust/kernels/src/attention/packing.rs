//! How numbers of keys or values stand in a block: each an element, or two in a byte.

use super::layout::{BLOCK_TOKENS, Side, place};
use super::scale::{LEAST_HALF, MOST_HALF, Scale};
use super::stored::Stored;
use crate::simd::Lanes;
use crate::simd::pairs::Pairs;

/// How the numbers of one side stand in rows: those of a key's dimension by token, those of a value's token by dimension.
pub(crate) trait Packing: Copy {
    /// What they stand in.
    type Element: Stored;
    /// Elements that a lane takes in one step.
    const ELEMENTS: usize;
    /// The largest magnitude of what meets weights.
    const MOST_WEIGHED: f32;

    /// The scale of a key or value.
    fn scale(side: Side, numbers: &[f32]) -> Scale;
    /// Writes vectors of rows that are multiplied together, each lane times its factor.
    ///
    /// # Safety
    ///
    /// `target` is valid for [`ELEMENTS`](Self::ELEMENTS) a lane.
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        target: *mut Self::Element,
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    );
    /// What each number of a vector becomes.
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [Self::Element; BLOCK_TOKENS];
    /// The same of one number: the plain program.
    fn part(number: f32, scale: Scale) -> Self::Element;
    /// Writes it to its place, `(row, column)`, among rows of `width`.
    fn put(numbers: &mut [Self::Element], place: (usize, usize), width: usize, part: Self::Element);
}

/// What is widened to words as it is read.
pub(crate) trait Widened: Packing {
    /// # Safety
    ///
    /// `source` is valid for a pair of each lane.
    unsafe fn load<P: Pairs>(pairs: P, source: *const Self::Element) -> P::Words;
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
        target: *mut S,
        vectors: [L::Vector; 2],
        factors: [L::Vector; 2],
    ) {
        let first = S::scaled(lanes, vectors[0], factors[0]);
        let second = S::scaled(lanes, vectors[1], factors[1]);
        // SAFETY: what the caller promises.
        unsafe { <S as Stored>::store_together(lanes, target, [first, second]) }
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
        target: *mut i8,
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
        // SAFETY: the caller has room for a byte of each lane.
        unsafe { lanes.store_bytes(target, lanes.fma(high, sixteen, low)) }
    }
    #[inline(always)]
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [i8; BLOCK_TOKENS] {
        let mut parts = [0; BLOCK_TOKENS];
        // SAFETY: a vector is at most as long as the array.
        unsafe {
            lanes.store_bytes(
                parts.as_mut_ptr(),
                halves(lanes, vector, lanes.splat(factor)),
            );
        };
        parts
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
    unsafe fn load<P: Pairs>(pairs: P, source: *const i16) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { pairs.load_words(source) }
    }
}

impl Widened for i8 {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, source: *const i8) -> P::Words {
        // SAFETY: what the caller promises.
        unsafe { pairs.load_bytes(source) }
    }
}

impl Widened for Halves {
    #[inline(always)]
    unsafe fn load<P: Pairs>(pairs: P, source: *const i8) -> P::Words {
        // SAFETY: what the caller promises: a byte is a pair.
        unsafe { pairs.load_halves(source) }
    }
}
