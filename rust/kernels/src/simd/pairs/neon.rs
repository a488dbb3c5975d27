//! Four pairs: NEON multiplies words of one place with words of another, so the halves of pairs lie apart in registers.

use std::arch::aarch64::*;

use super::{LEVELS, Pairs};
use crate::simd::neon::Neon;
use crate::simd::register_methods;

/// Widening multiply-adds of four words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeonPairs {
    lanes: Neon,
}

impl NeonPairs {
    /// Every machine of the target has them.
    pub(crate) fn new(lanes: Neon) -> Self {
        Self { lanes }
    }
}

impl Pairs for NeonPairs {
    type Lanes = Neon;
    type Sums = int32x4_t;
    type Words = int16x4x2_t;

    #[inline(always)]
    fn lanes(self) -> Neon {
        self.lanes
    }
    #[inline(always)]
    unsafe fn load_words(self, source: *const i16) -> int16x4x2_t {
        // SAFETY: `self` proves the instructions; the caller gives eight words to read.
        unsafe { vld2_s16(source) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> int16x4x2_t {
        // SAFETY: `self` proves the instructions; the caller gives eight bytes to read.
        unsafe {
            let words = vmovl_s8(vld1_s8(source));
            let halves = vuzpq_s16(words, words);
            int16x4x2_t(vget_low_s16(halves.0), vget_low_s16(halves.1))
        }
    }
    #[inline(always)]
    unsafe fn load_halves(self, source: *const i8) -> int16x4x2_t {
        // SAFETY: `self` proves the instructions; the caller gives four bytes to read.
        unsafe {
            let bytes = source.cast::<[i8; 4]>().read();
            let bytes =
                vreinterpret_s8_u32(vdup_n_u32(u32::from_le_bytes(bytes.map(|byte| byte as u8))));
            // Each half at the top of its byte, from where it comes down with its sign; the last bit is set anyway.
            let words =
                |halves| vget_low_s16(vmovl_s8(vorr_s8(vshr_n_s8::<3>(halves), vdup_n_s8(1))));
            int16x4x2_t(words(vshl_n_s8::<4>(bytes)), words(bytes))
        }
    }
    #[inline(always)]
    unsafe fn load_eighths(self, [two, third]: [*const i8; 2], pair: usize) -> int16x4x2_t {
        // SAFETY: `self` proves the instructions; the caller gives sixteen bytes to read, and eight.
        unsafe {
            let two = vreinterpretq_u32_s8(vld1q_s8(two));
            let third = vmovl_u16(vreinterpret_u16_s8(vld1_s8(third)));
            let shifted = |bits: uint32x4_t, by: usize, mask: u32| {
                vandq_u32(
                    vshlq_u32(bits, vdupq_n_s32(-(by as i32))),
                    vdupq_n_u32(mask),
                )
            };
            let levels = vld1_s8(LEVELS.as_ptr());
            let words = |second: usize| {
                let two = shifted(two, 2 * pair + 16 * second, 3);
                let third = shifted(vshlq_n_u32::<2>(third), pair + 8 * second, 4);
                let codes = vmovn_u32(vorrq_u32(two, third));
                let codes = vreinterpret_s8_u8(vmovn_u16(vcombine_u16(codes, codes)));
                vget_low_s16(vmovl_s8(vtbl1_s8(levels, codes)))
            };
            int16x4x2_t(words(0), words(1))
        }
    }
    #[inline(always)]
    unsafe fn load_sums(self, source: *const i32) -> int32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives four sums to read.
        unsafe { vld1q_s32(source) }
    }
    #[inline(always)]
    unsafe fn store_sums(self, target: *mut i32, sums: int32x4_t) {
        // SAFETY: `self` proves the instructions; the caller gives room for four sums.
        unsafe { vst1q_s32(target, sums) }
    }
    register_methods! {
        fn zero() -> int32x4_t = vdupq_n_s32(0);
        fn splat(pair: i32) -> int16x4x2_t =
            int16x4x2_t(vdup_n_s16(pair as i16), vdup_n_s16((pair >> 16) as i16));
        fn add_products(sums: int32x4_t, a: int16x4x2_t, b: int16x4x2_t) -> int32x4_t =
            vmlal_s16(vmlal_s16(sums, a.0, b.0), a.1, b.1);
        fn floats(sums: int32x4_t) -> float32x4_t = vcvtq_f32_s32(sums);
    }
}
