//! Unsigned bytes of sixteen rows times signed bytes of some tokens, with and without VNNI.

use std::arch::x86_64::*;

use super::dot_avx2::together;

/// Integer products of sixteen rows and a token, as they add up inside a group of inputs.
///
/// # Safety
///
/// Every method needs the instruction set of the instance.
pub(super) trait WideDot {
    /// A vector of weights as it meets tokens.
    type Weights: Copy;
    /// What adds up.
    type Sums: Copy;
    /// Tokens whose sums for two tiles fit the registers.
    const TOKENS: usize;
    /// Tokens whose sums for one tile do.
    const TOKENS_OF_ONE: usize;

    /// Weights of `BITS` bits, four inputs a row.
    unsafe fn weights<const BITS: u32>(vector: __m512i) -> Self::Weights;
    /// The sums of a group of which `debt` is the first summand.
    unsafe fn start(debt: __m512i) -> Self::Sums;
    /// Adds the products of inputs `4 * STEP..` of a block.
    unsafe fn add<const BITS: u32, const STEP: usize>(
        sums: &mut Self::Sums,
        weights: Self::Weights,
        inputs: __m512i,
    );
    /// The sums of sixteen rows.
    unsafe fn total<const BITS: u32>(sums: Self::Sums) -> __m512i;
}

/// `vpdpbusd`.
pub(super) struct Vnni;

impl WideDot for Vnni {
    type Weights = __m512i;
    type Sums = __m512i;
    const TOKENS: usize = 6;
    const TOKENS_OF_ONE: usize = 8;

    #[inline(always)]
    unsafe fn weights<const BITS: u32>(vector: __m512i) -> __m512i {
        vector
    }
    #[inline(always)]
    unsafe fn start(debt: __m512i) -> __m512i {
        debt
    }
    #[inline(always)]
    unsafe fn add<const BITS: u32, const STEP: usize>(
        sums: &mut __m512i,
        weights: __m512i,
        inputs: __m512i,
    ) {
        // SAFETY: the caller's.
        *sums = unsafe { _mm512_dpbusd_epi32(*sums, weights, inputs) };
    }
    #[inline(always)]
    unsafe fn total<const BITS: u32>(sums: __m512i) -> __m512i {
        sums
    }
}

/// `vpmaddubsw`, whose pairs saturate at 16 bits: products are added there as long as they fit, and
/// 8-bit weights go as two nibbles.
pub(super) struct Maddubs;

/// Sums in 16 bits, of low and high nibbles, and what is in 32 bits by now.
#[derive(Clone, Copy)]
pub(super) struct Pairs {
    low: __m512i,
    high: __m512i,
    wide: __m512i,
}

impl WideDot for Maddubs {
    type Weights = [__m512i; 2];
    type Sums = Pairs;
    const TOKENS: usize = 4;
    const TOKENS_OF_ONE: usize = 4;

    #[inline(always)]
    unsafe fn weights<const BITS: u32>(vector: __m512i) -> [__m512i; 2] {
        if BITS < 8 {
            return [vector; 2];
        }
        // SAFETY: the caller's.
        unsafe {
            let nibble = _mm512_set1_epi8(15);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(vector), nibble);
            [_mm512_and_si512(vector, nibble), high]
        }
    }
    #[inline(always)]
    unsafe fn start(debt: __m512i) -> Pairs {
        // SAFETY: the caller's.
        let zero = unsafe { _mm512_setzero_si512() };
        Pairs {
            low: zero,
            high: zero,
            wide: debt,
        }
    }
    #[inline(always)]
    unsafe fn add<const BITS: u32, const STEP: usize>(
        sums: &mut Pairs,
        [low, high]: [__m512i; 2],
        inputs: __m512i,
    ) {
        // SAFETY: the caller's.
        unsafe {
            sums.low = _mm512_add_epi16(sums.low, _mm512_maddubs_epi16(low, inputs));
            if BITS == 8 {
                sums.high = _mm512_add_epi16(sums.high, _mm512_maddubs_epi16(high, inputs));
            } else if together(BITS) < 8 && (STEP + 1).is_multiple_of(together(BITS)) {
                let wide = _mm512_madd_epi16(sums.low, _mm512_set1_epi16(1));
                sums.wide = _mm512_add_epi32(sums.wide, wide);
                sums.low = _mm512_setzero_si512();
            }
        }
    }
    #[inline(always)]
    unsafe fn total<const BITS: u32>(sums: Pairs) -> __m512i {
        // SAFETY: the caller's.
        unsafe {
            if together(BITS) < 8 {
                return sums.wide;
            }
            let low = _mm512_madd_epi16(sums.low, _mm512_set1_epi16(1));
            let wide = _mm512_add_epi32(sums.wide, low);
            if BITS < 8 {
                return wide;
            }
            let high = _mm512_madd_epi16(sums.high, _mm512_set1_epi16(16));
            _mm512_add_epi32(wide, high)
        }
    }
}
