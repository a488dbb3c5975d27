//! Products of bytes, four inputs of a row at a time: with `sdot`, and with widening multiplies
//! where the processor has no better.
//!
//! Written as instructions: the intrinsics of `sdot` are not stable yet, and what the compiler makes
//! of those of `smlal` widens weights and inputs first. None is declared `pure`, because the compiler
//! then keeps their order, the one in which all accumulators fit the registers.

use std::arch::{aarch64::*, asm};

use crate::quant::coding::product_bits;

/// A way to add up products of 8 rows and one token, by a value that proves the instructions.
pub(super) trait Dot<const CODING: u32>: Copy {
    /// Tokens of which the accumulators stay in registers.
    const TOKENS: usize;
    /// Accumulators.
    type Sums: Copy;

    /// # Safety
    ///
    /// The machine has the instructions.
    unsafe fn new() -> Self;
    /// Sums that begin at `start` in each row.
    fn begin(self, start: int32x4_t) -> Self::Sums;
    /// Adds the products of four weights of each row with four bytes of `inputs`, those of `LANE`.
    fn add<const LANE: i32>(
        self,
        sums: &mut Self::Sums,
        weights: [int8x16_t; 2],
        inputs: int8x16_t,
    );
    /// The sums, a lane a row.
    fn finish(self, sums: Self::Sums) -> [int32x4_t; 2];
}

/// `sdot`.
#[derive(Clone, Copy)]
pub(super) struct Sdot(());

impl<const CODING: u32> Dot<CODING> for Sdot {
    const TOKENS: usize = 8;
    type Sums = [int32x4_t; 2];

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn begin(self, start: int32x4_t) -> [int32x4_t; 2] {
        [start; 2]
    }

    #[inline(always)]
    fn add<const LANE: i32>(
        self,
        sums: &mut [int32x4_t; 2],
        weights: [int8x16_t; 2],
        inputs: int8x16_t,
    ) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: `self` proves `sdot`, which touches nothing but registers.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
                    sum = inout(vreg) *sum,
                    weights = in(vreg) weights,
                    inputs = in(vreg) inputs,
                    lane = const LANE,
                    options(nomem, nostack, preserves_flags)
                );
            }
        }
    }

    #[inline(always)]
    fn finish(self, sums: [int32x4_t; 2]) -> [int32x4_t; 2] {
        sums
    }
}

/// `smlal` into 16 bits, widened once a group.
///
/// A lane adds up to eight products: below `8 * 31 * 128` for 5 bits, and for 6 bits, whose groups
/// have four steps, below `4 * 63 * 128`. Products with 8 bits are widened at once.
#[derive(Clone, Copy)]
pub(super) struct Widening(());

/// Sums of four rows, two rows a vector.
#[derive(Clone, Copy)]
pub(super) struct WideningSums {
    start: int32x4_t,
    narrow: [[int16x8_t; 2]; 2],
    wide: [[int32x4_t; 2]; 2],
}

impl<const CODING: u32> Dot<CODING> for Widening {
    const TOKENS: usize = 4;
    type Sums = WideningSums;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn begin(self, start: int32x4_t) -> WideningSums {
        // SAFETY: NEON is the baseline of the target; only registers are touched.
        unsafe {
            WideningSums {
                start,
                narrow: [[vdupq_n_s16(0); 2]; 2],
                wide: [[vdupq_n_s32(0); 2]; 2],
            }
        }
    }

    #[inline(always)]
    fn add<const LANE: i32>(
        self,
        sums: &mut WideningSums,
        weights: [int8x16_t; 2],
        inputs: int8x16_t,
    ) {
        // SAFETY: NEON is the baseline of the target; `add_wide` and `add_narrow` need no more.
        unsafe {
            let inputs = vdupq_laneq_s32::<LANE>(vreinterpretq_s32_s8(inputs));
            let inputs = vreinterpretq_s8_s32(inputs);
            for (quarter, weights) in weights.into_iter().enumerate() {
                if product_bits(CODING) == 8 {
                    add_wide(&mut sums.wide[quarter], weights, inputs);
                } else {
                    add_narrow(&mut sums.narrow[quarter], weights, inputs);
                }
            }
        }
    }

    #[inline(always)]
    fn finish(self, sums: WideningSums) -> [int32x4_t; 2] {
        // SAFETY: NEON is the baseline of the target; only registers are touched.
        unsafe {
            let mut rows = [sums.start; 2];
            for (quarter, rows) in rows.iter_mut().enumerate() {
                let [low, high] = if product_bits(CODING) == 8 {
                    sums.wide[quarter]
                } else {
                    sums.narrow[quarter].map(|narrow| vpaddlq_s16(narrow))
                };
                *rows = vaddq_s32(*rows, vpaddq_s32(low, high));
            }
            rows
        }
    }
}

/// Adds sixteen products in 16 bits.
#[inline(always)]
unsafe fn add_narrow(sums: &mut [int16x8_t; 2], weights: int8x16_t, inputs: int8x16_t) {
    let [low, high] = sums;
    // SAFETY: NEON is the baseline; nothing but registers is touched.
    unsafe {
        asm!(
            "smlal {low:v}.8h, {weights:v}.8b, {inputs:v}.8b",
            "smlal2 {high:v}.8h, {weights:v}.16b, {inputs:v}.16b",
            low = inout(vreg) *low,
            high = inout(vreg) *high,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Adds sixteen products in 32 bits, in pairs.
#[inline(always)]
unsafe fn add_wide(sums: &mut [int32x4_t; 2], weights: int8x16_t, inputs: int8x16_t) {
    let [low, high] = sums;
    // SAFETY: NEON is the baseline of the target; nothing but registers is touched.
    unsafe {
        asm!(
            "smull {first:v}.8h, {weights:v}.8b, {inputs:v}.8b",
            "smull2 {second:v}.8h, {weights:v}.16b, {inputs:v}.16b",
            "sadalp {low:v}.4s, {first:v}.8h",
            "sadalp {high:v}.4s, {second:v}.8h",
            low = inout(vreg) *low,
            high = inout(vreg) *high,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            first = out(vreg) _,
            second = out(vreg) _,
            options(nomem, nostack, preserves_flags)
        );
    }
}
