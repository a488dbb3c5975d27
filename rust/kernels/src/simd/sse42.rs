//! Four lanes: SSE4.2, for processors before AVX2.

use std::arch::x86_64::*;

use super::{Lanes, register_methods};

/// A value of it proves SSE4.2, and with it SSSE3 and SSE4.1: there is no other way to one than to have found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sse42(());

impl Sse42 {
    /// Where the machine has the instruction set.
    pub(crate) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.2");
        there.then_some(Self(()))
    }

    /// # Safety
    ///
    /// The machine has SSE4.2.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Self(())
    }
}

/// All ones in the first `count` lanes.
#[inline(always)]
unsafe fn prefix(count: usize) -> __m128i {
    // SAFETY: only registers are touched, with what every machine of the target has.
    unsafe {
        let lane = _mm_setr_epi32(0, 1, 2, 3);
        _mm_cmpgt_epi32(_mm_set1_epi32(count as i32), lane)
    }
}

/// f16 to f32: the exponent moves from bias 15 to bias 127 by a factor of 2^112, exact for denormals too.
#[inline(always)]
unsafe fn widen(halves: __m128i) -> __m128 {
    // SAFETY: the caller has SSE4.2, and only registers are touched.
    unsafe {
        let bits = _mm_cvtepu16_epi32(halves);
        let magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fff));
        let power = _mm_castsi128_ps(_mm_set1_epi32((112 + 127) << 23));
        let value = _mm_mul_ps(_mm_castsi128_ps(_mm_slli_epi32::<13>(magnitude)), power);
        let is_special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
        let special = _mm_and_si128(is_special, _mm_set1_epi32(0x7f80_0000));
        let sign = _mm_slli_epi32::<16>(_mm_xor_si128(bits, magnitude));
        _mm_or_ps(value, _mm_castsi128_ps(_mm_or_si128(special, sign)))
    }
}

impl Lanes for Sse42 {
    const WIDTH: usize = 4;
    type Vector = __m128;

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m128 {
        // SAFETY: `self` proves the instructions; the caller gives four numbers to read.
        unsafe { _mm_loadu_ps(source) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m128 {
        if count >= 4 {
            // SAFETY: the caller gives four numbers to read.
            return unsafe { self.load(source) };
        }
        let mut lanes = [0.0; 4];
        // SAFETY: the caller gives `count` numbers, fewer than there is room for.
        unsafe {
            std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count);
            self.load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_half(self, source: *const u16) -> __m128 {
        // SAFETY: `self` proves the instructions; the caller gives four halves to read, and no more are.
        unsafe { widen(_mm_loadl_epi64(source.cast())) }
    }
    #[inline(always)]
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> __m128 {
        let mut lanes = [0u16; 4];
        // SAFETY: `self` proves the instructions; the caller gives `count` halves, and at most four are copied
        // to an array of as many.
        unsafe {
            std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count.min(4));
            self.load_half(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_bfloat(self, source: *const u16) -> __m128 {
        // SAFETY: `self` proves the instructions; the caller gives four halves to read, and no more are.
        unsafe {
            let bits = _mm_loadl_epi64(source.cast());
            _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), bits))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> __m128 {
        // SAFETY: `self` proves the instructions; the caller gives four bytes to read, and no more are.
        unsafe {
            let four = _mm_cvtsi32_si128(source.cast::<i32>().read_unaligned());
            _mm_cvtepi32_ps(_mm_cvtepi8_epi32(four))
        }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: __m128) {
        // SAFETY: `self` proves the instructions; the caller gives room for four numbers.
        unsafe { _mm_storeu_ps(target, value) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, value: __m128, count: usize) {
        if count >= 4 {
            // SAFETY: the caller gives room for four numbers.
            return unsafe { self.store(target, value) };
        }
        let mut lanes = [0.0; 4];
        // SAFETY: the array has four numbers, and the caller room for `count`, which are fewer.
        unsafe {
            self.store(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), target, count);
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut i8, value: __m128) {
        // SAFETY: `self` proves the instructions; the caller gives room for four bytes, and no more are written.
        unsafe {
            let wide = _mm_cvtps_epi32(value);
            let halves = _mm_packs_epi32(wide, wide);
            let bytes = _mm_cvtsi128_si32(_mm_packs_epi16(halves, halves));
            target.cast::<i32>().write_unaligned(bytes);
        }
    }
    #[inline(always)]
    unsafe fn store_words(self, target: *mut i16, value: __m128) {
        // SAFETY: `self` proves the instructions; the caller gives room for four words, and no more are written.
        unsafe {
            let wide = _mm_cvtps_epi32(value);
            _mm_storel_epi64(target.cast(), _mm_packs_epi32(wide, wide));
        }
    }
    #[inline(always)]
    unsafe fn half_sums(self, source: *const i8) -> [i32; 2] {
        // SAFETY: `self` proves the instructions; the caller gives 32 bytes to read.
        [0, 16].map(|first| unsafe {
            // As unsigned bytes each is larger by 128, and one instruction adds eight of them.
            let bytes = _mm_loadu_si128(source.add(first).cast());
            let lifted = _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN));
            let eights = _mm_sad_epu8(lifted, _mm_setzero_si128());
            let sum = _mm_add_epi64(eights, _mm_unpackhi_epi64(eights, eights));
            _mm_cvtsi128_si32(sum) - 16 * 128
        })
    }
    #[inline(always)]
    unsafe fn for_each_column(
        self,
        source: *const f32,
        stride: usize,
        mut each: impl FnMut(usize, __m128),
    ) {
        // SAFETY: `self` proves the instructions; the caller gives four rows of four numbers.
        unsafe {
            let row = |index: usize| _mm_loadu_ps(source.add(index * stride));
            let [first, second, third, fourth] = [row(0), row(1), row(2), row(3)];
            let (low, high) = (
                _mm_unpacklo_ps(first, second),
                _mm_unpackhi_ps(first, second),
            );
            let (next_low, next_high) = (
                _mm_unpacklo_ps(third, fourth),
                _mm_unpackhi_ps(third, fourth),
            );
            each(0, _mm_movelh_ps(low, next_low));
            each(1, _mm_movehl_ps(next_low, low));
            each(2, _mm_movelh_ps(high, next_high));
            each(3, _mm_movehl_ps(next_high, high));
        }
    }
    #[inline(always)]
    fn scale_by_power(self, a: __m128, exponent: __m128) -> __m128 {
        let lowest = self.splat(-126.0);
        let power = self.power_of_two(self.max(exponent, lowest));
        self.keep_from(exponent, lowest, self.mul(a, power))
    }
    register_methods! {
        fn splat(value: f32) -> __m128 = _mm_set1_ps(value);
        fn add(a: __m128, b: __m128) -> __m128 = _mm_add_ps(a, b);
        fn sub(a: __m128, b: __m128) -> __m128 = _mm_sub_ps(a, b);
        fn mul(a: __m128, b: __m128) -> __m128 = _mm_mul_ps(a, b);
        fn div(a: __m128, b: __m128) -> __m128 = _mm_div_ps(a, b);
        fn max(a: __m128, b: __m128) -> __m128 = _mm_max_ps(a, b);
        fn min(a: __m128, b: __m128) -> __m128 = _mm_min_ps(a, b);
        fn abs(a: __m128) -> __m128 = _mm_andnot_ps(_mm_set1_ps(-0.0), a);
        // These processors round twice.
        fn fma(a: __m128, b: __m128, c: __m128) -> __m128 = _mm_add_ps(_mm_mul_ps(a, b), c);
        fn round(a: __m128) -> __m128 =
            _mm_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn power_of_two(a: __m128) -> __m128 = {
            let biased = _mm_add_epi32(_mm_cvtps_epi32(a), _mm_set1_epi32(127));
            _mm_castsi128_ps(_mm_slli_epi32::<23>(biased))
        };
        fn keep_from(a: __m128, bound: __m128, value: __m128) -> __m128 =
            _mm_and_ps(_mm_cmpge_ps(a, bound), value);
        fn mask_range(value: __m128, begin: usize, end: usize) -> __m128 = {
            let mask = _mm_andnot_si128(prefix(begin), prefix(end));
            let hidden = _mm_set1_ps(f32::NEG_INFINITY);
            _mm_blendv_ps(hidden, value, _mm_castsi128_ps(mask))
        };
        fn sum(a: __m128) -> f32 = {
            let two = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
        fn maximum(a: __m128) -> f32 = {
            let two = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        };
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_half_widens_as_it_should() {
        let Some(lanes) = Sse42::detect() else {
            return;
        };
        for first in (0..=u16::MAX).step_by(4) {
            let bits = [0, 1, 2, 3].map(|next| first + next);
            let mut actual = [0.0; 4];
            // SAFETY: four halves and room for four numbers; the instructions were found.
            unsafe { lanes.store(actual.as_mut_ptr(), lanes.load_half(bits.as_ptr())) };
            for (bits, actual) in bits.into_iter().zip(actual) {
                let expected = f16::from_bits(bits).to_f32();
                let same = expected.to_bits() == actual.to_bits();
                assert!(same || (expected.is_nan() && actual.is_nan()), "{bits:#x}");
            }
        }
    }
}
