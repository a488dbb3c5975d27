//! Four lanes: NEON, which every aarch64 machine has.

use std::arch::aarch64::*;

use super::{Lanes, register_methods};

/// A value of it proves NEON, which every machine of the target has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// The value.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        const { assert!(cfg!(target_feature = "neon"), "a target without NEON") }
        Self(())
    }
}

/// All ones in the lanes below `count`.
#[inline(always)]
unsafe fn prefix(count: usize) -> uint32x4_t {
    // SAFETY: the caller has NEON; the four numbers that are read stand in an array.
    unsafe {
        let lane = vld1q_u32([0, 1, 2, 3].as_ptr());
        vcltq_u32(lane, vdupq_n_u32(count as u32))
    }
}

impl Lanes for Neon {
    const WIDTH: usize = 4;
    type Vector = float32x4_t;

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> float32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives four numbers to read.
        unsafe { vld1q_f32(source) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> float32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives `count` numbers to read, and each arm reads as many.
        unsafe {
            let none = vdup_n_f32(0.0);
            match count {
                0 => vcombine_f32(none, none),
                1 => vcombine_f32(vset_lane_f32::<0>(*source, none), none),
                2 => vcombine_f32(vld1_f32(source), none),
                3 => {
                    let last = vset_lane_f32::<0>(*source.add(2), none);
                    vcombine_f32(vld1_f32(source), last)
                }
                _ => vld1q_f32(source),
            }
        }
    }
    #[inline(always)]
    unsafe fn load_half(self, source: *const u16) -> float32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives four halves to read.
        unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(source))) }
    }
    #[inline(always)]
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> float32x4_t {
        let mut lanes = [0u16; 4];
        // SAFETY: `self` proves the instructions; the caller gives `count` halves, and at most four are copied
        // to an array of as many.
        unsafe {
            std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count.min(4));
            self.load_half(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_bfloat(self, source: *const u16) -> float32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives four halves to read.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(source))) }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> float32x4_t {
        // SAFETY: `self` proves the instructions; the caller gives four bytes to read, and no more are.
        unsafe {
            let four = vreinterpret_s8_s32(vdup_n_s32(source.cast::<i32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))))
        }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: float32x4_t) {
        // SAFETY: `self` proves the instructions; the caller gives room for four numbers.
        unsafe { vst1q_f32(target, value) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, value: float32x4_t, count: usize) {
        // SAFETY: `self` proves the instructions; the caller gives room for `count` numbers, and each arm writes
        // as many.
        unsafe {
            match count {
                0 => {}
                1 => *target = vgetq_lane_f32::<0>(value),
                2 => vst1_f32(target, vget_low_f32(value)),
                3 => {
                    vst1_f32(target, vget_low_f32(value));
                    *target.add(2) = vgetq_lane_f32::<2>(value);
                }
                _ => vst1q_f32(target, value),
            }
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut i8, value: float32x4_t) {
        // SAFETY: `self` proves the instructions; the caller gives room for four bytes, and no more are written.
        unsafe {
            let halves = vqmovn_s32(vcvtnq_s32_f32(value));
            let bytes = vqmovn_s16(vcombine_s16(halves, halves));
            let four = vget_lane_s32::<0>(vreinterpret_s32_s8(bytes));
            target.cast::<i32>().write_unaligned(four);
        }
    }
    #[inline(always)]
    unsafe fn store_words(self, target: *mut i16, value: float32x4_t) {
        // SAFETY: `self` proves the instructions; the caller gives room for four words.
        unsafe { vst1_s16(target, vqmovn_s32(vcvtnq_s32_f32(value))) }
    }
    #[inline(always)]
    unsafe fn for_each_column(
        self,
        source: *const f32,
        stride: usize,
        mut each: impl FnMut(usize, float32x4_t),
    ) {
        // SAFETY: `self` proves the instructions; the caller gives four rows of four numbers.
        unsafe {
            let row = |index: usize| vld1q_f32(source.add(index * stride));
            let (first, second) = (vtrnq_f32(row(0), row(1)), vtrnq_f32(row(2), row(3)));
            let low = |a, b| vcombine_f32(vget_low_f32(a), vget_low_f32(b));
            let high = |a, b| vcombine_f32(vget_high_f32(a), vget_high_f32(b));
            each(0, low(first.0, second.0));
            each(1, low(first.1, second.1));
            each(2, high(first.0, second.0));
            each(3, high(first.1, second.1));
        }
    }
    #[inline(always)]
    unsafe fn half_sums(self, source: *const i8) -> [i32; 2] {
        // SAFETY: `self` proves the instructions; the caller gives 32 bytes to read.
        unsafe {
            let sum = |half: *const i8| i32::from(vaddlvq_s8(vld1q_s8(half)));
            [sum(source), sum(source.add(16))]
        }
    }
    #[inline(always)]
    fn scale_by_power(self, a: float32x4_t, exponent: float32x4_t) -> float32x4_t {
        // SAFETY: `self` proves the instructions, which touch registers alone.
        unsafe {
            let lowest = vdupq_n_f32(-126.0);
            let power = self.power_of_two(self.max(exponent, lowest));
            self.keep_from(exponent, lowest, vmulq_f32(a, power))
        }
    }
    register_methods! {
        fn splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        // The number wins over NaN, as with `f32::max` in the plain program.
        fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmaxnmq_f32(a, b);
        fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminnmq_f32(a, b);
        fn abs(a: float32x4_t) -> float32x4_t = vabsq_f32(a);
        fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        fn round(a: float32x4_t) -> float32x4_t = vrndnq_f32(a);
        fn power_of_two(a: float32x4_t) -> float32x4_t = {
            let biased = vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        };
        fn keep_from(a: float32x4_t, bound: float32x4_t, value: float32x4_t) -> float32x4_t = {
            let kept = vandq_u32(vcgeq_f32(a, bound), vreinterpretq_u32_f32(value));
            vreinterpretq_f32_u32(kept)
        };
        fn mask_range(value: float32x4_t, begin: usize, end: usize) -> float32x4_t = {
            let mask = vbicq_u32(prefix(end), prefix(begin));
            vbslq_f32(mask, value, vdupq_n_f32(f32::NEG_INFINITY))
        };
        fn sum(a: float32x4_t) -> f32 = vaddvq_f32(a);
        fn maximum(a: float32x4_t) -> f32 = vmaxnmvq_f32(a);
    }
}
