//! How values stand in a block: as its keys do, or two tokens in a byte.

use super::layout::{BLOCK_TOKENS, place};
use super::scale::{LEAST_HALF, MOST_HALF, Scale};
use super::stored::Stored;
use crate::simd::Lanes;
use crate::simd::pairs::Pairs;

/// Values among elements of the type of the keys.
pub(crate) trait Values: Copy {
    /// What keys are.
    type Element: Stored;
    /// Elements that a lane takes in one step.
    const ELEMENTS: usize;
    /// The largest magnitude of what meets weights.
    const MOST_WEIGHED: f32;

    /// The scale of a value.
    fn scale(value: &[f32]) -> Scale;
    /// Writes vectors of tokens that stand side by side.
    ///
    /// # Safety
    ///
    /// `target` is valid for [`ELEMENTS`](Self::ELEMENTS) a lane.
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        target: *mut Self::Element,
        vectors: [L::Vector; 2],
        factors: [f32; 2],
    );
    /// What each number of a vector becomes.
    fn parts<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> [Self::Element; BLOCK_TOKENS];
    /// The same of one number: the plain program.
    fn part(number: f32, scale: Scale) -> Self::Element;
    /// Writes it to its place, `(token, column)`, among values of `width`.
    fn put(values: &mut [Self::Element], place: (usize, usize), width: usize, part: Self::Element);
}

/// What is widened to words as it is read.
pub(crate) trait Widened: Values {
    /// # Safety
    ///
    /// `source` is valid for a pair of each lane.
    unsafe fn load<P: Pairs>(pairs: P, source: *const Self::Element) -> P::Words;
}

/// Values that stand as keys do, one number an element.
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

impl<S: Whole> Values for S {
    type Element = S;
    const ELEMENTS: usize = S::TOGETHER;
    const MOST_WEIGHED: f32 = S::MOST_VALUE;

    #[inline(always)]
    fn scale(value: &[f32]) -> Scale {
        S::value_scale(value)
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        target: *mut S,
        vectors: [L::Vector; 2],
        factors: [f32; 2],
    ) {
        let scaled = |index: usize| S::scaled(lanes, vectors[index], lanes.splat(factors[index]));
        // SAFETY: what the caller promises.
        unsafe { <S as Stored>::store_together(lanes, target, [scaled(0), scaled(1)]) }
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
    fn put(values: &mut [S], at: (usize, usize), width: usize, part: S) {
        values[place(at, width, S::TOGETHER)] = part;
    }
}

/// Two tokens in a byte, the first one in its low half, beside keys of bytes. A half `h` of -8..=7 stands for the odd number
/// `2h + 1`, so that none is wasted on zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Halves;

/// How many halves there are.
const SIXTEEN: f32 = 16.0;

impl Values for Halves {
    type Element = i8;
    const ELEMENTS: usize = 1;
    const MOST_WEIGHED: f32 = 2.0 * MOST_HALF + 1.0;

    #[inline(always)]
    fn scale(value: &[f32]) -> Scale {
        Scale::of_halves(value)
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(
        lanes: L,
        target: *mut i8,
        vectors: [L::Vector; 2],
        factors: [f32; 2],
    ) {
        let half = |index: usize| halves(lanes, vectors[index], factors[index]);
        let (low, high) = (half(0), half(1));
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
        unsafe { lanes.store_bytes(parts.as_mut_ptr(), halves(lanes, vector, factor)) };
        parts
    }
    #[inline(always)]
    fn part(number: f32, scale: Scale) -> i8 {
        scale.half(number) as i8
    }
    #[inline(always)]
    fn put(values: &mut [i8], (token, column): (usize, usize), width: usize, half: i8) {
        let byte = &mut values[token / 2 * width + column];
        *byte = if token.is_multiple_of(2) {
            (*byte & !0xF) | (half & 0xF)
        } else {
            (*byte & 0xF) | (half << 4)
        };
    }
}

/// The halves that the lanes become; what is no number becomes the largest.
#[inline(always)]
fn halves<L: Lanes>(lanes: L, vector: L::Vector, factor: f32) -> L::Vector {
    let scaled = lanes.mul(vector, lanes.splat(factor));
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
