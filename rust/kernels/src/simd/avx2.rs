//! Eight lanes: AVX2, FMA, F16C.

use std::arch::x86_64::*;

use super::{Lanes, register_methods};

/// A value of it proves AVX2, FMA and F16C: there is no other way to one than to have found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// Where the machine has the instruction set.
    pub(crate) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        there.then_some(Self(()))
    }

    /// # Safety
    ///
    /// The machine has AVX2, FMA and F16C.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Self(())
    }
}

/// All ones in the first `count` lanes.
#[inline(always)]
unsafe fn prefix(count: usize) -> __m256i {
    // SAFETY: the caller has AVX2, and only registers are touched.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
    }
}

/// The sums of the first and of the second sixteen of 32 bytes.
///
/// # Safety
///
/// Needs AVX2; `source` is valid for 32 bytes.
#[inline(always)]
pub(super) unsafe fn half_sums(source: *const i8) -> [i32; 2] {
    // SAFETY: the caller has AVX2 and gives 32 bytes to read.
    unsafe {
        // As unsigned bytes each is larger by 128, and one instruction adds eight of them.
        let bytes = _mm256_loadu_si256(source.cast());
        let lifted = _mm256_xor_si256(bytes, _mm256_set1_epi8(i8::MIN));
        let eights = _mm256_sad_epu8(lifted, _mm256_setzero_si256());
        let sums = _mm256_add_epi64(eights, _mm256_unpackhi_epi64(eights, eights));
        [
            _mm_cvtsi128_si32(_mm256_castsi256_si128(sums)) - 16 * 128,
            _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sums)) - 16 * 128,
        ]
    }
}

/// Rows become columns: first inside the 128-bit halves, then the halves themselves.
#[inline(always)]
unsafe fn transpose(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller has AVX2, and only registers are touched.
    unsafe {
        // Half h of `quads[4 * group + n]` holds column 4h + n of rows 4 * group..4 * group + 4.
        let mut quads = rows;
        for quad in quads.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = *quad;
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            quad[0] = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
            quad[1] = _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd);
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            quad[2] = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
            quad[3] = _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd);
        }
        let mut columns = rows;
        for n in 0..4 {
            columns[n] = _mm256_permute2f128_ps::<0x20>(quads[n], quads[n + 4]);
            columns[n + 4] = _mm256_permute2f128_ps::<0x31>(quads[n], quads[n + 4]);
        }
        columns
    }
}

impl Lanes for Avx2 {
    const WIDTH: usize = 8;
    type Vector = __m256;

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller gives eight numbers to read.
        unsafe { _mm256_loadu_ps(source) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller gives `count` numbers to read, and no lane behind
        // them is touched.
        unsafe { _mm256_maskload_ps(source, prefix(count)) }
    }
    #[inline(always)]
    unsafe fn load_half(self, source: *const u16) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller gives eight halves to read.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(source.cast())) }
    }
    #[inline(always)]
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> __m256 {
        let mut lanes = [0u16; 8];
        // SAFETY: `self` proves the instructions; the caller gives `count` halves, and at most eight are copied
        // to an array of as many.
        unsafe {
            std::ptr::copy_nonoverlapping(source, lanes.as_mut_ptr(), count.min(8));
            self.load_half(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn load_bfloat(self, source: *const u16) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller gives eight halves to read.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> __m256 {
        // SAFETY: `self` proves the instructions; the caller gives eight bytes to read, and no more are.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(source.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: __m256) {
        // SAFETY: `self` proves the instructions; the caller gives room for eight numbers.
        unsafe { _mm256_storeu_ps(target, value) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, value: __m256, count: usize) {
        // SAFETY: `self` proves the instructions; the caller gives room for `count` numbers, and no lane behind
        // them is touched.
        unsafe { _mm256_maskstore_ps(target, prefix(count), value) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut i8, value: __m256) {
        // SAFETY: `self` proves the instructions; the caller gives room for eight bytes, and no more are written.
        unsafe {
            let wide = _mm256_cvtps_epi32(value);
            let (low, high) = (
                _mm256_castsi256_si128(wide),
                _mm256_extracti128_si256::<1>(wide),
            );
            let halves = _mm_packs_epi32(low, high);
            _mm_storel_epi64(target.cast(), _mm_packs_epi16(halves, halves));
        }
    }
    #[inline(always)]
    unsafe fn store_words(self, target: *mut i16, value: __m256) {
        // SAFETY: `self` proves the instructions; the caller gives room for eight words.
        unsafe {
            let wide = _mm256_cvtps_epi32(value);
            let (low, high) = (
                _mm256_castsi256_si128(wide),
                _mm256_extracti128_si256::<1>(wide),
            );
            _mm_storeu_si128(target.cast(), _mm_packs_epi32(low, high));
        }
    }
    #[inline(always)]
    unsafe fn half_sums(self, source: *const i8) -> [i32; 2] {
        // SAFETY: `self` proves the instructions; the caller gives 32 bytes to read.
        unsafe { half_sums(source) }
    }
    #[inline(always)]
    unsafe fn for_each_column(
        self,
        source: *const f32,
        stride: usize,
        mut each: impl FnMut(usize, __m256),
    ) {
        // SAFETY: `self` proves the instructions; the caller gives eight rows of eight numbers.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(source.add(index * stride));
            }
            for (column, vector) in transpose(rows).into_iter().enumerate() {
                each(column, vector);
            }
        }
    }
    #[inline(always)]
    fn scale_by_power(self, a: __m256, exponent: __m256) -> __m256 {
        // SAFETY: `self` proves the instructions, which touch registers alone.
        unsafe {
            let lowest = _mm256_set1_ps(-126.0);
            let power = self.power_of_two(_mm256_max_ps(exponent, lowest));
            self.keep_from(exponent, lowest, _mm256_mul_ps(a, power))
        }
    }
    register_methods! {
        fn splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        fn add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        fn sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        fn mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        fn div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fn max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        fn min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fn abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        fn fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        fn round(a: __m256) -> __m256 =
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn power_of_two(a: __m256) -> __m256 = {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
        };
        fn keep_from(a: __m256, bound: __m256, value: __m256) -> __m256 =
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(a, bound), value);
        fn mask_range(value: __m256, begin: usize, end: usize) -> __m256 = {
            let mask = _mm256_andnot_si256(prefix(begin), prefix(end));
            let hidden = _mm256_set1_ps(f32::NEG_INFINITY);
            _mm256_blendv_ps(hidden, value, _mm256_castsi256_ps(mask))
        };
        fn sum(a: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        fn maximum(a: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        };
    }
}
