//! Sixteen pairs: AVX-512 BW, and VNNI where products and sum are one instruction.

use std::arch::x86_64::*;

use super::{LEVELS, Pairs};
use crate::simd::avx512::Avx512;
use crate::simd::register_methods;

/// What a half stands for, twice.
const ODD: [i16; 32] = {
    let mut odd = [0; 32];
    let mut index = 0;
    while index < 32 {
        let half = index as i16 % 16;
        odd[index] = 2 * (if half < 8 { half } else { half - 16 }) + 1;
        index += 1;
    }
    odd
};

/// The levels, as often as an index of five bits may have its third.
const EIGHTHS: [i16; 32] = {
    let mut levels = [0; 32];
    let mut index = 0;
    while index < 32 {
        levels[index] = LEVELS[index % 8] as i16;
        index += 1;
    }
    levels
};

/// Products and their sum in two instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512Pairs {
    lanes: Avx512,
}

impl Avx512Pairs {
    /// Every machine with the lanes has them.
    pub(crate) fn new(lanes: Avx512) -> Self {
        Self { lanes }
    }
}

/// Products and sum in one instruction: a value of it proves AVX-512 VNNI.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512VnniPairs {
    lanes: Avx512,
}

impl Avx512VnniPairs {
    /// Where the machine has the instruction set.
    pub(crate) fn detect(lanes: Avx512) -> Option<Self> {
        is_x86_feature_detected!("avx512vnni").then_some(Self { lanes })
    }
}

macro_rules! sixteen_pairs {
    ($pairs:ty, |$sums:ident, $a:ident, $b:ident| $products:expr) => {
        impl Pairs for $pairs {
            type Lanes = Avx512;
            type Sums = __m512i;
            type Words = __m512i;

            #[inline(always)]
            fn lanes(self) -> Avx512 {
                self.lanes
            }
            #[inline(always)]
            unsafe fn load_words(self, source: *const i16) -> __m512i {
                // SAFETY: `self` proves the instructions; the caller gives 32 words to read.
                unsafe { _mm512_loadu_si512(source.cast()) }
            }
            #[inline(always)]
            unsafe fn load_bytes(self, source: *const i8) -> __m512i {
                // SAFETY: `self` proves the instructions; the caller gives 32 bytes to read.
                unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(source.cast())) }
            }
            #[inline(always)]
            unsafe fn load_halves(self, source: *const i8) -> __m512i {
                // SAFETY: `self` proves the instructions; the caller gives sixteen bytes to read.
                unsafe {
                    let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(source.cast()));
                    // A half in the low bits of each word; of what stands above it, the look-up sees one bit, for which the
                    // table stands twice.
                    let halves = _mm512_or_si512(bytes, _mm512_slli_epi32::<12>(bytes));
                    let odd = _mm512_loadu_si512(ODD.as_ptr().cast());
                    _mm512_permutexvar_epi16(halves, odd)
                }
            }
            #[inline(always)]
            unsafe fn load_eighths(self, [two, third]: [*const i8; 2], pair: usize) -> __m512i {
                // SAFETY: `self` proves the instructions; the caller gives 64 bytes to read, and 32.
                unsafe {
                    let two = _mm512_loadu_si512(two.cast());
                    let third = _mm512_cvtepu8_epi16(_mm256_loadu_si256(third.cast()));
                    let shift = |by: usize| _mm_cvtsi32_si128(by as i32);
                    // Two bits at the bottom of each word, the third above them; of what stands higher the look-up sees two
                    // bits, for which the table stands four times.
                    let two = _mm512_srl_epi16(two, shift(2 * pair));
                    let third = _mm512_srl_epi16(_mm512_slli_epi16::<2>(third), shift(pair));
                    let bit = _mm512_set1_epi32(0x0004_0004);
                    let codes = _mm512_ternarylogic_epi32::<0xca>(bit, third, two);
                    _mm512_permutexvar_epi16(codes, _mm512_loadu_si512(EIGHTHS.as_ptr().cast()))
                }
            }
            #[inline(always)]
            unsafe fn load_sums(self, source: *const i32) -> __m512i {
                // SAFETY: `self` proves the instructions; the caller gives sixteen sums to read.
                unsafe { _mm512_loadu_si512(source.cast()) }
            }
            #[inline(always)]
            unsafe fn store_sums(self, target: *mut i32, sums: __m512i) {
                // SAFETY: `self` proves the instructions; the caller gives room for sixteen sums.
                unsafe { _mm512_storeu_si512(target.cast(), sums) }
            }
            register_methods! {
                fn zero() -> __m512i = _mm512_setzero_si512();
                fn splat(pair: i32) -> __m512i = _mm512_set1_epi32(pair);
                fn add_products($sums: __m512i, $a: __m512i, $b: __m512i) -> __m512i = $products;
                fn floats(sums: __m512i) -> __m512 = _mm512_cvtepi32_ps(sums);
            }
        }
    };
}
sixteen_pairs!(Avx512Pairs, |sums, a, b| {
    _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
});
sixteen_pairs!(Avx512VnniPairs, |sums, a, b| _mm512_dpwssd_epi32(
    sums, a, b
));
