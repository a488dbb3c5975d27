//! The element types of the cache: how a number is written there, and with which scale.

use super::layout::Side;
use super::scale::Scale;
use crate::simd::Lanes;

/// The largest magnitude of a stored byte.
const MOST_BYTE: f32 = 127.0;
/// The largest magnitude of a word.
const MOST_WORD: f32 = 32_767.0;

/// The element type of the cache.
///
/// Where it has scales, a sum over one token's numbers, or a token's weight, is multiplied by the
/// token's scale, and the loops over numbers know nothing of it.
pub(crate) trait Stored: Copy {
    /// Zero.
    const ZERO: Self;
    /// Whether each token's key and value has a scale.
    const HAS_SCALES: bool = true;
    /// Numbers that are multiplied in one step, and so stand side by side.
    const TOGETHER: usize = 2;
    /// The largest magnitude of a stored number.
    const MOST: f32;

    /// Its bits, and zeros above them.
    fn bits(self) -> u32;
    /// The lowest bits.
    fn from_bits(bits: u32) -> Self;
    /// As a float.
    fn number(self) -> f32;
    /// The scale of a key.
    fn key_scale(key: &[f32]) -> Scale;
    /// # Safety
    ///
    /// As [`Lanes::store`].
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector);
    /// The first [`TOGETHER`](Self::TOGETHER) vectors, lanes of all in turn.
    ///
    /// # Safety
    ///
    /// `target` is valid for so many lanes.
    unsafe fn store_together<L: Lanes>(lanes: L, target: *mut Self, vectors: [L::Vector; 2]);

    /// A vector in the unit in which it is stored, what is no number as the largest one (as `Scale::integer`: the smaller one
    /// of a vector is the second where the first is no number).
    #[inline(always)]
    fn scaled<L: Lanes>(lanes: L, vector: L::Vector, factors: L::Vector) -> L::Vector {
        if Self::HAS_SCALES {
            let rounded = lanes.round(lanes.mul(vector, factors));
            lanes.min(rounded, lanes.splat(Self::MOST))
        } else {
            vector
        }
    }
}

impl Stored for f32 {
    const ZERO: Self = 0.0;
    const HAS_SCALES: bool = false;
    const TOGETHER: usize = 1;
    const MOST: f32 = f32::MAX;

    #[inline(always)]
    fn bits(self) -> u32 {
        self.to_bits()
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        f32::from_bits(bits)
    }
    #[inline(always)]
    fn number(self) -> f32 {
        self
    }
    #[inline(always)]
    fn key_scale(_: &[f32]) -> Scale {
        Scale::NONE
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store(target, vector) }
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(lanes: L, target: *mut Self, vectors: [L::Vector; 2]) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store(target, vectors[0]) }
    }
}

impl Stored for i16 {
    const ZERO: Self = 0;
    const MOST: f32 = MOST_WORD;

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self as u16)
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as i16
    }
    #[inline(always)]
    fn number(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    fn key_scale(key: &[f32]) -> Scale {
        Scale::of_length(key)
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_words(target, vector) }
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(lanes: L, target: *mut Self, vectors: [L::Vector; 2]) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_word_pairs(target, vectors[0], vectors[1]) }
    }
}

impl Stored for i8 {
    const ZERO: Self = 0;
    const MOST: f32 = MOST_BYTE;

    #[inline(always)]
    fn bits(self) -> u32 {
        u32::from(self as u8)
    }
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits as i8
    }
    #[inline(always)]
    fn number(self) -> f32 {
        f32::from(self)
    }
    #[inline(always)]
    fn key_scale(key: &[f32]) -> Scale {
        Scale::of_largest(key, MOST_BYTE)
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_bytes(target, vector) }
    }
    #[inline(always)]
    unsafe fn store_together<L: Lanes>(lanes: L, target: *mut Self, vectors: [L::Vector; 2]) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_byte_pairs(target, vectors[0], vectors[1]) }
    }
}

/// A token's scale among those of a head.
pub(super) fn read_scale<S: Stored>(scales: &[S], side: Side, token: usize) -> f32 {
    let first = side.index(token) * size_of::<f32>() / size_of::<S>();
    let numbers = &scales[first..][..size_of::<f32>() / size_of::<S>()];
    let mut bits = 0;
    for (index, number) in numbers.iter().enumerate() {
        bits |= number.bits() << (8 * size_of::<S>() * index);
    }
    f32::from_bits(bits)
}

/// Writes a token's scale to its place among those of a head.
#[inline(always)]
pub(super) fn write_scale<S: Stored>(scales: &mut [S], (side, token): (Side, usize), unit: f32) {
    let first = side.index(token) * size_of::<f32>() / size_of::<S>();
    let numbers = &mut scales[first..][..size_of::<f32>() / size_of::<S>()];
    for (index, number) in numbers.iter_mut().enumerate() {
        *number = S::from_bits(unit.to_bits() >> (8 * size_of::<S>() * index));
    }
}
