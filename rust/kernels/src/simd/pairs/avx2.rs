//! Eight pairs: AVX2, and AVX-VNNI where products and sum are one instruction.

use std::arch::x86_64::*;

use super::{LEVELS, Pairs};
use crate::simd::avx2::Avx2;
use crate::simd::register_methods;

/// Products and their sum in two instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2Pairs {
    lanes: Avx2,
}

impl Avx2Pairs {
    /// Every machine with the lanes has them.
    pub(crate) fn new(lanes: Avx2) -> Self {
        Self { lanes }
    }
}

/// Products and sum in one instruction: a value of it proves AVX-VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AvxVnniPairs {
    lanes: Avx2,
}

impl AvxVnniPairs {
    /// Where the machine has the instruction set.
    pub(crate) fn detect(lanes: Avx2) -> Option<Self> {
        is_x86_feature_detected!("avxvnni").then_some(Self { lanes })
    }
}

macro_rules! eight_pairs {
    ($pairs:ty, |$sums:ident, $a:ident, $b:ident| $products:expr) => {
        impl Pairs for $pairs {
            type Lanes = Avx2;
            type Sums = __m256i;
            type Words = __m256i;

            #[inline(always)]
            fn lanes(self) -> Avx2 {
                self.lanes
            }
            #[inline(always)]
            unsafe fn load_words(self, source: *const i16) -> __m256i {
                // SAFETY: `self` proves the instructions; the caller gives sixteen words to read.
                unsafe { _mm256_loadu_si256(source.cast()) }
            }
            #[inline(always)]
            unsafe fn load_bytes(self, source: *const i8) -> __m256i {
                // SAFETY: `self` proves the instructions; the caller gives sixteen bytes to read.
                unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(source.cast())) }
            }
            #[inline(always)]
            unsafe fn load_halves(self, source: *const i8) -> __m256i {
                // SAFETY: `self` proves the instructions; the caller gives eight bytes to read.
                unsafe {
                    let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(source.cast()));
                    // Each half at the top of its word, from where it comes down with its sign; the last bit is set anyway.
                    let (low, high) = (
                        _mm256_slli_epi32::<12>(bytes),
                        _mm256_slli_epi32::<24>(bytes),
                    );
                    let halves = _mm256_blend_epi16::<0xAA>(low, high);
                    _mm256_or_si256(_mm256_srai_epi16::<11>(halves), _mm256_set1_epi16(1))
                }
            }
            #[inline(always)]
            unsafe fn load_eighths(self, [two, third]: [*const i8; 2], pair: usize) -> __m256i {
                // SAFETY: `self` proves the instructions; the caller gives 32 bytes to read, and sixteen.
                unsafe {
                    let two = _mm256_loadu_si256(two.cast());
                    let third = _mm256_cvtepu8_epi16(_mm_loadu_si128(third.cast()));
                    let shift = |by: usize| _mm_cvtsi32_si128(by as i32);
                    // Two bits in the upper half of each word, the third above them: what is looked up there keeps its sign
                    // on the way down.
                    let two = _mm256_slli_epi16::<8>(_mm256_srl_epi16(two, shift(2 * pair)));
                    let third = _mm256_slli_epi16::<10>(_mm256_srl_epi16(third, shift(pair)));
                    let codes = _mm256_or_si256(
                        _mm256_and_si256(two, _mm256_set1_epi16(0x0300)),
                        _mm256_and_si256(third, _mm256_set1_epi16(0x0400)),
                    );
                    let levels =
                        _mm256_set1_epi64x(i64::from_le_bytes(LEVELS.map(|level| level as u8)));
                    _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(levels, codes))
                }
            }
            #[inline(always)]
            unsafe fn load_sums(self, source: *const i32) -> __m256i {
                // SAFETY: `self` proves the instructions; the caller gives eight sums to read.
                unsafe { _mm256_loadu_si256(source.cast()) }
            }
            #[inline(always)]
            unsafe fn store_sums(self, target: *mut i32, sums: __m256i) {
                // SAFETY: `self` proves the instructions; the caller gives room for eight sums.
                unsafe { _mm256_storeu_si256(target.cast(), sums) }
            }
            register_methods! {
                fn zero() -> __m256i = _mm256_setzero_si256();
                fn splat(pair: i32) -> __m256i = _mm256_set1_epi32(pair);
                fn add_products($sums: __m256i, $a: __m256i, $b: __m256i) -> __m256i = $products;
                fn floats(sums: __m256i) -> __m256 = _mm256_cvtepi32_ps(sums);
            }
        }
    };
}
eight_pairs!(Avx2Pairs, |sums, a, b| {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
});
eight_pairs!(AvxVnniPairs, |sums, a, b| _mm256_dpwssd_avx_epi32(
    sums, a, b
));
