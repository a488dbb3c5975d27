//! Registers of packed weights: rows of a part of a tile, four bytes each, as AVX2 and SSE4.2 hold them.

use std::arch::x86_64::*;

use crate::simd::Lanes;
use crate::simd::avx2::Avx2;
use crate::simd::sse42::Sse42;

/// Integers of as many rows as there are floats in a vector, by a value that proves the instructions.
pub(super) trait Register: Copy {
    /// The floats: one a row.
    type Lanes: Lanes;
    /// The register: four bytes a row, or two words, or a sum.
    type Bytes: Copy;

    /// # Safety
    ///
    /// The machine has what the instance is named after.
    unsafe fn new() -> Self;
    fn lanes(self) -> Self::Lanes;
    /// # Safety
    ///
    /// `source` is valid for four bytes a row.
    unsafe fn load(self, source: *const u8) -> Self::Bytes;
    fn zero(self) -> Self::Bytes;
    /// The same byte everywhere.
    fn splat(self, byte: i8) -> Self::Bytes;
    /// The same word everywhere.
    fn splat_word(self, word: i16) -> Self::Bytes;
    /// The same four bytes, or sum, in each row.
    fn splat_four(self, four: i32) -> Self::Bytes;
    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Words times a power of two: bits pass from a byte to the next one.
    fn left<const BITS: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// The way back.
    fn right<const BITS: i32>(self, a: Self::Bytes) -> Self::Bytes;
    /// Sums times a power of two.
    fn scale_sums(self, sums: Self::Bytes, power: __m128i) -> Self::Bytes;
    fn add_words(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn add_sums(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// Unsigned bytes times signed ones, neighbours added up in a word that saturates.
    fn byte_products(self, unsigned: Self::Bytes, signed: Self::Bytes) -> Self::Bytes;
    /// Words times words, neighbours added up in a sum.
    fn word_products(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// The entry that each byte, below 16, chooses.
    fn look_up(self, entries: [u8; 16], places: Self::Bytes) -> Self::Bytes;
    /// The nearest floats of sums.
    fn floats(self, sums: Self::Bytes) -> <Self::Lanes as Lanes>::Vector;
}

/// The methods by their instructions, whose names differ in the width alone.
macro_rules! register {
    (
        $name:ident, $lanes:ident, $bytes:ty, $floats:ty, $load:ident, $zero:ident, $splat:ident, $splat_word:ident,
        $splat_four:ident, $and:ident, $or:ident, $left:ident, $right:ident, $scale:ident, $add_words:ident,
        $add_sums:ident, $byte_products:ident, $word_products:ident, $to_floats:ident,
        |$entries:ident, $places:ident| $look_up:expr
    ) => {
        impl Register for $name {
            type Lanes = $lanes;
            type Bytes = $bytes;

            #[inline(always)]
            unsafe fn new() -> Self {
                // SAFETY: the caller has the instruction set.
                Self(unsafe { $lanes::assume() })
            }
            #[inline(always)]
            fn lanes(self) -> $lanes {
                self.0
            }
            #[inline(always)]
            unsafe fn load(self, source: *const u8) -> $bytes {
                // SAFETY: `self` proves the instructions; the caller gives a register's bytes to read.
                unsafe { $load(source.cast()) }
            }
            #[inline(always)]
            fn left<const BITS: i32>(self, a: $bytes) -> $bytes {
                // SAFETY: `self` proves the instructions; only registers are touched.
                unsafe { $left::<BITS>(a) }
            }
            #[inline(always)]
            fn right<const BITS: i32>(self, a: $bytes) -> $bytes {
                // SAFETY: `self` proves the instructions; only registers are touched.
                unsafe { $right::<BITS>(a) }
            }
            #[inline(always)]
            fn look_up(self, entries: [u8; 16], $places: $bytes) -> $bytes {
                // SAFETY: `self` proves the instructions; sixteen bytes are read of as many.
                unsafe {
                    let $entries = _mm_loadu_si128(entries.as_ptr().cast());
                    $look_up
                }
            }
            crate::simd::register_methods! {
                fn zero() -> $bytes = $zero();
                fn splat(byte: i8) -> $bytes = $splat(byte);
                fn splat_word(word: i16) -> $bytes = $splat_word(word);
                fn splat_four(four: i32) -> $bytes = $splat_four(four);
                fn and(a: $bytes, b: $bytes) -> $bytes = $and(a, b);
                fn or(a: $bytes, b: $bytes) -> $bytes = $or(a, b);
                fn scale_sums(sums: $bytes, power: __m128i) -> $bytes = $scale(sums, power);
                fn add_words(a: $bytes, b: $bytes) -> $bytes = $add_words(a, b);
                fn add_sums(a: $bytes, b: $bytes) -> $bytes = $add_sums(a, b);
                fn byte_products(unsigned: $bytes, signed: $bytes) -> $bytes = $byte_products(unsigned, signed);
                fn word_products(a: $bytes, b: $bytes) -> $bytes = $word_products(a, b);
                fn floats(sums: $bytes) -> $floats = $to_floats(sums);
            }
        }
    };
}

/// Eight rows.
#[derive(Clone, Copy)]
pub(super) struct EightRows(Avx2);
register!(
    EightRows,
    Avx2,
    __m256i,
    __m256,
    _mm256_loadu_si256,
    _mm256_setzero_si256,
    _mm256_set1_epi8,
    _mm256_set1_epi16,
    _mm256_set1_epi32,
    _mm256_and_si256,
    _mm256_or_si256,
    _mm256_slli_epi16,
    _mm256_srli_epi16,
    _mm256_sll_epi32,
    _mm256_add_epi16,
    _mm256_add_epi32,
    _mm256_maddubs_epi16,
    _mm256_madd_epi16,
    _mm256_cvtepi32_ps,
    |entries, places| _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), places)
);

/// Four rows.
#[derive(Clone, Copy)]
pub(super) struct FourRows(Sse42);
register!(
    FourRows,
    Sse42,
    __m128i,
    __m128,
    _mm_loadu_si128,
    _mm_setzero_si128,
    _mm_set1_epi8,
    _mm_set1_epi16,
    _mm_set1_epi32,
    _mm_and_si128,
    _mm_or_si128,
    _mm_slli_epi16,
    _mm_srli_epi16,
    _mm_sll_epi32,
    _mm_add_epi16,
    _mm_add_epi32,
    _mm_maddubs_epi16,
    _mm_madd_epi16,
    _mm_cvtepi32_ps,
    |entries, places| _mm_shuffle_epi8(entries, places)
);
