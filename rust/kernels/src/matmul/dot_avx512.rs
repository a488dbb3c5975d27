//! Unsigned bytes of sixteen rows times signed bytes of some tokens, with and without VNNI.

use std::arch::x86_64::*;

use super::dot_x86::together;
use crate::quant::coding::product_bits;

/// Integer products of sixteen rows and a token, as they add up inside a group of inputs, by a value that proves the
/// instructions.
pub(super) trait WideDot: Copy {
    /// # Safety
    ///
    /// The machine has AVX-512 F and BW, and what the instance is named after.
    unsafe fn new() -> Self;
    /// A vector of weights as it meets tokens.
    type Weights: Copy;
    /// What adds up.
    type Sums: Copy;
    /// Tokens whose sums for two tiles fit the registers.
    const TOKENS: usize;
    /// Tokens whose sums for one tile do.
    const TOKENS_OF_ONE: usize;

    /// Weights of that coding, four inputs a row.
    fn weights<const CODING: u32>(self, vector: __m512i) -> Self::Weights;
    /// The sums of a group of which `debt` is the first summand.
    fn start(self, debt: __m512i) -> Self::Sums;
    /// Adds the products of inputs `4 * STEP..` of a block.
    fn add<const CODING: u32, const STEP: usize>(
        self,
        sums: &mut Self::Sums,
        weights: Self::Weights,
        inputs: __m512i,
    );
    /// The sums of sixteen rows.
    fn total<const CODING: u32>(self, sums: Self::Sums) -> __m512i;
}

/// `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Vnni(());

impl WideDot for Vnni {
    type Weights = __m512i;
    type Sums = __m512i;
    const TOKENS: usize = 6;
    const TOKENS_OF_ONE: usize = 8;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn weights<const CODING: u32>(self, vector: __m512i) -> __m512i {
        vector
    }
    #[inline(always)]
    fn start(self, debt: __m512i) -> __m512i {
        debt
    }
    #[inline(always)]
    fn add<const CODING: u32, const STEP: usize>(
        self,
        sums: &mut __m512i,
        weights: __m512i,
        inputs: __m512i,
    ) {
        // SAFETY: `self` proves VNNI; only registers are touched.
        *sums = unsafe { _mm512_dpbusd_epi32(*sums, weights, inputs) };
    }
    #[inline(always)]
    fn total<const CODING: u32>(self, sums: __m512i) -> __m512i {
        sums
    }
}

/// `vpmaddubsw`, whose pairs saturate at 16 bits: products are added there as long as they fit, and
/// 8-bit weights go as two nibbles.
#[derive(Clone, Copy)]
pub(super) struct Maddubs(());

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
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn weights<const CODING: u32>(self, vector: __m512i) -> [__m512i; 2] {
        if product_bits(CODING) < 8 {
            return [vector; 2];
        }
        // SAFETY: `self` proves AVX-512 BW; only registers are touched.
        unsafe {
            let nibble = _mm512_set1_epi8(15);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(vector), nibble);
            [_mm512_and_si512(vector, nibble), high]
        }
    }
    #[inline(always)]
    fn start(self, debt: __m512i) -> Pairs {
        // SAFETY: `self` proves AVX-512 BW; only registers are touched.
        let zero = unsafe { _mm512_setzero_si512() };
        Pairs {
            low: zero,
            high: zero,
            wide: debt,
        }
    }
    #[inline(always)]
    fn add<const CODING: u32, const STEP: usize>(
        self,
        sums: &mut Pairs,
        [low, high]: [__m512i; 2],
        inputs: __m512i,
    ) {
        // SAFETY: `self` proves AVX-512 BW; only registers are touched.
        unsafe {
            sums.low = _mm512_add_epi16(sums.low, _mm512_maddubs_epi16(low, inputs));
            if product_bits(CODING) == 8 {
                sums.high = _mm512_add_epi16(sums.high, _mm512_maddubs_epi16(high, inputs));
            } else if together(product_bits(CODING)) < 8
                && (STEP + 1).is_multiple_of(together(product_bits(CODING)))
            {
                let wide = _mm512_madd_epi16(sums.low, _mm512_set1_epi16(1));
                sums.wide = _mm512_add_epi32(sums.wide, wide);
                sums.low = _mm512_setzero_si512();
            }
        }
    }
    #[inline(always)]
    fn total<const CODING: u32>(self, sums: Pairs) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW; only registers are touched.
        unsafe {
            if together(product_bits(CODING)) < 8 {
                return sums.wide;
            }
            let low = _mm512_madd_epi16(sums.low, _mm512_set1_epi16(1));
            let wide = _mm512_add_epi32(sums.wide, low);
            if product_bits(CODING) < 8 {
                return wide;
            }
            let high = _mm512_madd_epi16(sums.high, _mm512_set1_epi16(16));
            _mm512_add_epi32(wide, high)
        }
    }
}
