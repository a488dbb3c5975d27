//! Products with what AVX2 and SSE4.2 have for them: unsigned bytes times signed bytes of some tokens, and pairs of words.

use std::arch::x86_64::*;

use super::register_x86::{EightRows, Register};
use super::unpack_x86::weights;
use crate::quant::coding::product_bits;

/// Integer products of a register's rows and a token, as they add up inside a group of inputs, by a value that proves
/// the instructions.
pub(super) trait ByteDot: Copy {
    /// The registers of the weights.
    type Register: Register;
    /// What adds up.
    type Sums: Copy;

    /// How many tokens' sums fit the registers: 3 or 4.
    fn tokens(coding: u32) -> usize;
    /// # Safety
    ///
    /// The machine has what the instance is named after.
    unsafe fn new() -> Self;
    fn register(self) -> Self::Register;
    fn zero(self) -> Self::Sums;
    /// Adds the products of inputs `4 * STEP..` for `COUNT` tokens: `values` stands at the register's part of a
    /// block, `quants` at the first token's block, the next one `columns` further.
    ///
    /// # Safety
    ///
    /// Those blocks are there.
    unsafe fn add<const COUNT: usize, const CODING: u32, const STEP: usize>(
        self,
        values: *const u8,
        quants: (*const i8, usize),
        sums: &mut [Self::Sums; COUNT],
    );
    /// The sums of the rows.
    fn total<const CODING: u32>(self, sums: Self::Sums) -> Bytes<Self::Register>;
}

type Bytes<R> = <R as Register>::Bytes;

/// Four activation bytes of a token, for every row.
///
/// # Safety
///
/// `quants` is valid for four bytes.
#[inline(always)]
unsafe fn four<R: Register>(register: R, quants: *const i8) -> R::Bytes {
    // SAFETY: the caller gives four bytes to read.
    register.splat_four(unsafe { quants.cast::<i32>().read_unaligned() })
}

/// `vpdpbusd`.
#[derive(Clone, Copy)]
pub(super) struct Vnni(EightRows);

impl ByteDot for Vnni {
    type Register = EightRows;
    type Sums = __m256i;

    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: a machine with AVX-VNNI has AVX2.
        Self(unsafe { EightRows::new() })
    }
    #[inline(always)]
    fn register(self) -> EightRows {
        self.0
    }
    #[inline(always)]
    fn tokens(_coding: u32) -> usize {
        4
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        self.0.zero()
    }
    #[inline(always)]
    unsafe fn add<const COUNT: usize, const CODING: u32, const STEP: usize>(
        self,
        values: *const u8,
        (quants, columns): (*const i8, usize),
        sums: &mut [__m256i; COUNT],
    ) {
        // SAFETY: the caller has the blocks: a half has 32 bytes of weights for each bit, a token 32 quants;
        // `self` proves AVX-VNNI.
        unsafe {
            let weights = weights::<EightRows, CODING, STEP>(self.0, values);
            for (token, sum) in sums.iter_mut().enumerate() {
                let inputs = four(self.0, quants.add(token * columns + 4 * STEP));
                *sum = _mm256_dpbusd_avx_epi32(*sum, weights, inputs);
            }
        }
    }
    #[inline(always)]
    fn total<const CODING: u32>(self, sums: __m256i) -> __m256i {
        sums
    }
}

/// `pmaddubsw`, whose pairs saturate at 16 bits: products are added there as long as they fit, and
/// 8-bit weights go as two nibbles.
#[derive(Clone, Copy)]
pub(super) struct Maddubs<R>(R);

/// Sums in 16 bits, of low and high nibbles, and what had to be widened meanwhile.
#[derive(Clone, Copy)]
pub(super) struct Pairs<B> {
    low: B,
    high: B,
    wide: B,
}

/// How many products a 16-bit lane can add up: each pair is at most `2 * 127 * 2^bits`.
pub(super) const fn together(bits: u32) -> usize {
    match bits {
        5 => 4,
        6 => 2,
        _ => 8,
    }
}

impl<R: Register> ByteDot for Maddubs<R> {
    type Register = R;
    type Sums = Pairs<R::Bytes>;

    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller has the instruction set.
        Self(unsafe { R::new() })
    }
    #[inline(always)]
    fn register(self) -> R {
        self.0
    }
    #[inline(always)]
    fn tokens(coding: u32) -> usize {
        if product_bits(coding) == 8 { 3 } else { 4 }
    }
    #[inline(always)]
    fn zero(self) -> Self::Sums {
        let zero = self.0.zero();
        Pairs {
            low: zero,
            high: zero,
            wide: zero,
        }
    }
    #[inline(always)]
    unsafe fn add<const COUNT: usize, const CODING: u32, const STEP: usize>(
        self,
        values: *const u8,
        (quants, columns): (*const i8, usize),
        sums: &mut [Self::Sums; COUNT],
    ) {
        let register = self.0;
        // SAFETY: the caller has the blocks: a part has its weights for each bit.
        let weights = unsafe { weights::<R, CODING, STEP>(register, values) };
        let nibble = register.splat(15);
        let low = if product_bits(CODING) == 8 {
            register.and(weights, nibble)
        } else {
            weights
        };
        let high = register.and(register.right::<4>(weights), nibble);
        for (token, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a token has 32 quants.
            let inputs = unsafe { four(register, quants.add(token * columns + 4 * STEP)) };
            sum.low = register.add_words(sum.low, register.byte_products(low, inputs));
            if product_bits(CODING) == 8 {
                sum.high = register.add_words(sum.high, register.byte_products(high, inputs));
            } else if together(product_bits(CODING)) < 8
                && (STEP + 1).is_multiple_of(together(product_bits(CODING)))
            {
                let wide = register.word_products(sum.low, register.splat_word(1));
                sum.wide = register.add_sums(sum.wide, wide);
                sum.low = register.zero();
            }
        }
    }
    #[inline(always)]
    fn total<const CODING: u32>(self, sums: Self::Sums) -> R::Bytes {
        let register = self.0;
        if together(product_bits(CODING)) < 8 {
            return sums.wide;
        }
        let low = register.word_products(sums.low, register.splat_word(1));
        if product_bits(CODING) == 8 {
            let high = register.word_products(sums.high, register.splat_word(16));
            register.add_sums(low, high)
        } else {
            low
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
