//! Products of eight rows with what AVX2 has for them: unsigned bytes times signed bytes of some tokens, and pairs of
//! words.

use std::arch::x86_64::*;

use super::unpack_avx2::weights;

/// Integer products of eight rows and a token, as they add up inside a group of inputs, by a value that proves the
/// instructions.
pub(super) trait ByteDot: Copy {
    /// What adds up.
    type Sums: Copy;

    /// How many tokens' sums fit the registers: 3 or 4.
    fn tokens(bits: u32) -> usize;
    /// # Safety
    ///
    /// The machine has AVX2, and what the instance is named after.
    unsafe fn new() -> Self;
    fn zero(self) -> Self::Sums;
    /// Adds the products of inputs `4 * STEP..` for `COUNT` tokens: `values` stands at half a
    /// block, `quants` at the first token's block, the next one `columns` further.
    ///
    /// # Safety
    ///
    /// Those blocks are there.
    unsafe fn add<const COUNT: usize, const BITS: u32, const STEP: usize>(
        self,
        values: *const u8,
        quants: (*const i8, usize),
        sums: &mut [Self::Sums; COUNT],
    );
    /// The sums of eight rows.
    fn total<const BITS: u32>(self, sums: Self::Sums) -> __m256i;
}

/// Four activation bytes of a token, for every row.
///
/// # Safety
///
/// Needs AVX2; `quants` is valid for four bytes.
#[inline(always)]
unsafe fn four(quants: *const i8) -> __m256i {
    // SAFETY: the caller has AVX2 and gives four bytes to read.
    unsafe { _mm256_set1_epi32(quants.cast::<i32>().read_unaligned()) }
}

/// `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl ByteDot for Vnni {
    type Sums = __m256i;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }
    #[inline(always)]
    fn tokens(_bits: u32) -> usize {
        4
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` proves AVX2; only a register is touched.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn add<const COUNT: usize, const BITS: u32, const STEP: usize>(
        self,
        values: *const u8,
        (quants, columns): (*const i8, usize),
        sums: &mut [__m256i; COUNT],
    ) {
        // SAFETY: the caller has the blocks: a half has 32 bytes of weights for each bit, a token 32 quants;
        // `self` proves AVX-VNNI.
        unsafe {
            let weights = weights::<BITS, STEP>(values);
            for (token, sum) in sums.iter_mut().enumerate() {
                let inputs = four(quants.add(token * columns + 4 * STEP));
                *sum = _mm256_dpbusd_avx_epi32(*sum, weights, inputs);
            }
        }
    }
    #[inline(always)]
    fn total<const BITS: u32>(self, sums: __m256i) -> __m256i {
        sums
    }
}

/// `vpmaddubsw`, whose pairs saturate at 16 bits: products are added there as long as they fit, and
/// 8-bit weights go as two nibbles.
#[derive(Clone, Copy)]
pub(super) struct Maddubs(());

/// Sums in 16 bits, of low and high nibbles, and what had to be widened meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    low: __m256i,
    high: __m256i,
    wide: __m256i,
}

/// How many products a 16-bit lane can add up: each pair is at most `2 * 127 * 2^BITS`.
pub(super) const fn together(bits: u32) -> usize {
    match bits {
        5 => 4,
        6 => 2,
        _ => 8,
    }
}

impl ByteDot for Maddubs {
    type Sums = Pairs;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }
    #[inline(always)]
    fn tokens(bits: u32) -> usize {
        if bits == 8 { 3 } else { 4 }
    }
    #[inline(always)]
    fn zero(self) -> Pairs {
        // SAFETY: `self` proves AVX2; only a register is touched.
        let zero = unsafe { _mm256_setzero_si256() };
        Pairs {
            low: zero,
            high: zero,
            wide: zero,
        }
    }
    #[inline(always)]
    unsafe fn add<const COUNT: usize, const BITS: u32, const STEP: usize>(
        self,
        values: *const u8,
        (quants, columns): (*const i8, usize),
        sums: &mut [Pairs; COUNT],
    ) {
        // SAFETY: the caller has the blocks: a half has 32 bytes of weights for each bit, a token 32 quants;
        // `self` proves AVX2.
        unsafe {
            let weights = weights::<BITS, STEP>(values);
            let nibble = _mm256_set1_epi8(15);
            let low = if BITS == 8 {
                _mm256_and_si256(weights, nibble)
            } else {
                weights
            };
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(weights), nibble);
            for (token, sum) in sums.iter_mut().enumerate() {
                let inputs = four(quants.add(token * columns + 4 * STEP));
                sum.low = _mm256_add_epi16(sum.low, _mm256_maddubs_epi16(low, inputs));
                if BITS == 8 {
                    sum.high = _mm256_add_epi16(sum.high, _mm256_maddubs_epi16(high, inputs));
                } else if together(BITS) < 8 && (STEP + 1).is_multiple_of(together(BITS)) {
                    let wide = _mm256_madd_epi16(sum.low, _mm256_set1_epi16(1));
                    sum.wide = _mm256_add_epi32(sum.wide, wide);
                    sum.low = _mm256_setzero_si256();
                }
            }
        }
    }
    #[inline(always)]
    fn total<const BITS: u32>(self, sums: Pairs) -> __m256i {
        // SAFETY: `self` proves AVX2; only registers are touched.
        unsafe {
            if together(BITS) < 8 {
                return sums.wide;
            }
            let low = _mm256_madd_epi16(sums.low, _mm256_set1_epi16(1));
            if BITS == 8 {
                let high = _mm256_madd_epi16(sums.high, _mm256_set1_epi16(16));
                _mm256_add_epi32(low, high)
            } else {
                low
            }
        }
    }
}

/// Products of pairs of words, added up, by a value that proves the instruction.
pub(super) trait WordDot: Copy {
    /// # Safety
    ///
    /// The machine has it.
    unsafe fn new() -> Self;
    fn add(self, sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i;
}

/// `vpmaddwd` and an addition.
#[derive(Clone, Copy)]
pub(super) struct Madd(());

impl WordDot for Madd {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }
    #[inline(always)]
    fn add(self, sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX2; only registers are touched.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(weights, inputs)) }
    }
}

/// `vpdpwssd`.
#[derive(Clone, Copy)]
pub(super) struct VnniWords(());

impl WordDot for VnniWords {
    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }
    #[inline(always)]
    fn add(self, sum: __m256i, weights: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: `self` proves AVX-VNNI; only registers are touched.
        unsafe { _mm256_dpwssd_avx_epi32(sum, weights, inputs) }
    }
}
