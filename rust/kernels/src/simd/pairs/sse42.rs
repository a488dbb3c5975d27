//! Four pairs: SSE4.2.

use std::arch::x86_64::*;

use super::{LEVELS, Pairs};
use crate::simd::register_methods;
use crate::simd::sse42::Sse42;

/// Products and their sum in two instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sse42Pairs {
    lanes: Sse42,
}

impl Sse42Pairs {
    /// Every machine with the lanes has them.
    pub(crate) fn new(lanes: Sse42) -> Self {
        Self { lanes }
    }
}

impl Pairs for Sse42Pairs {
    type Lanes = Sse42;
    type Sums = __m128i;
    type Words = __m128i;

    #[inline(always)]
    fn lanes(self) -> Sse42 {
        self.lanes
    }
    #[inline(always)]
    unsafe fn load_words(self, source: *const i16) -> __m128i {
        // SAFETY: `self` proves the instructions; the caller gives eight words to read.
        unsafe { _mm_loadu_si128(source.cast()) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> __m128i {
        // SAFETY: `self` proves the instructions; the caller gives eight bytes to read, and no more are.
        unsafe { _mm_cvtepi8_epi16(_mm_loadl_epi64(source.cast())) }
    }
    #[inline(always)]
    unsafe fn load_halves(self, source: *const i8) -> __m128i {
        // SAFETY: `self` proves the instructions; the caller gives four bytes to read, and no more are.
        unsafe {
            let bytes = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(source.cast::<i32>().read_unaligned()));
            // Each half at the top of its word, from where it comes down with its sign; the last bit is set anyway.
            let (low, high) = (_mm_slli_epi32::<12>(bytes), _mm_slli_epi32::<24>(bytes));
            let halves = _mm_blend_epi16::<0xAA>(low, high);
            _mm_or_si128(_mm_srai_epi16::<11>(halves), _mm_set1_epi16(1))
        }
    }
    #[inline(always)]
    unsafe fn load_eighths(self, [two, third]: [*const i8; 2], pair: usize) -> __m128i {
        // SAFETY: `self` proves the instructions; the caller gives sixteen bytes to read, and eight, and no more are.
        unsafe {
            let two = _mm_loadu_si128(two.cast());
            let third = _mm_cvtepu8_epi16(_mm_loadl_epi64(third.cast()));
            let shift = |by: usize| _mm_cvtsi32_si128(by as i32);
            // Two bits in the upper half of each word, the third above them: what is looked up there keeps its sign on the
            // way down.
            let two = _mm_slli_epi16::<8>(_mm_srl_epi16(two, shift(2 * pair)));
            let third = _mm_slli_epi16::<10>(_mm_srl_epi16(third, shift(pair)));
            let codes = _mm_or_si128(
                _mm_and_si128(two, _mm_set1_epi16(0x0300)),
                _mm_and_si128(third, _mm_set1_epi16(0x0400)),
            );
            let levels = _mm_set1_epi64x(i64::from_le_bytes(LEVELS.map(|level| level as u8)));
            _mm_srai_epi16::<8>(_mm_shuffle_epi8(levels, codes))
        }
    }
    #[inline(always)]
    unsafe fn load_sums(self, source: *const i32) -> __m128i {
        // SAFETY: `self` proves the instructions; the caller gives four sums to read.
        unsafe { _mm_loadu_si128(source.cast()) }
    }
    #[inline(always)]
    unsafe fn store_sums(self, target: *mut i32, sums: __m128i) {
        // SAFETY: `self` proves the instructions; the caller gives room for four sums.
        unsafe { _mm_storeu_si128(target.cast(), sums) }
    }
    register_methods! {
        fn zero() -> __m128i = _mm_setzero_si128();
        fn splat(pair: i32) -> __m128i = _mm_set1_epi32(pair);
        fn add_products(sums: __m128i, a: __m128i, b: __m128i) -> __m128i =
            _mm_add_epi32(sums, _mm_madd_epi16(a, b));
        fn floats(sums: __m128i) -> __m128 = _mm_cvtepi32_ps(sums);
    }
}
