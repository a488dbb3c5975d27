//! Sixteen lanes: AVX-512 F, BW, DQ, VL.

use std::arch::x86_64::*;

use super::avx2::{Avx2, half_sums};
use super::{Lanes, register_methods};

/// A value of it proves AVX-512 F, BW, DQ and VL, and what [`Avx2`] does: there is no other way to one than to have
/// found them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// Where the machine has the instruction set.
    pub(crate) fn detect() -> Option<Self> {
        let there = Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        there.then_some(Self(()))
    }
}

#[inline(always)]
fn prefix(count: usize) -> u16 {
    if count >= 16 {
        u16::MAX
    } else {
        (1u16 << count) - 1
    }
}

/// Lanes that are whole numbers of 16 bits: those of `even` in the lower halves, those of `odd` in the upper ones.
#[inline(always)]
unsafe fn word_pairs(even: __m512, odd: __m512) -> __m512i {
    // SAFETY: the caller has AVX-512 F and BW, and only registers are touched.
    unsafe {
        let upper = _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(odd));
        _mm512_mask_mov_epi16(upper, 0x5555_5555, _mm512_cvtps_epi32(even))
    }
}

/// Rows become columns: first inside the 128-bit quarters, then the quarters themselves.
#[inline(always)]
unsafe fn transpose(rows: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: the caller has AVX-512 F, and only registers are touched.
    unsafe {
        // Quarter q of `quads[4 * group + n]` holds column 4q + n of rows 4 * group..4 * group + 4.
        let mut quads = rows;
        for quad in quads.as_chunks_mut::<4>().0 {
            let [a, b, c, d] = (*quad).map(|row| _mm512_castps_pd(row));
            let low = |a, b| _mm512_unpacklo_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b));
            let high = |a, b| _mm512_unpackhi_ps(_mm512_castpd_ps(a), _mm512_castpd_ps(b));
            let (ab, cd) = (_mm512_castps_pd(low(a, b)), _mm512_castps_pd(low(c, d)));
            quad[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            quad[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
            let (ab, cd) = (_mm512_castps_pd(high(a, b)), _mm512_castps_pd(high(c, d)));
            quad[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            quad[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        }
        let mut columns = rows;
        for n in 0..4 {
            let [a, b, c, d] = [quads[n], quads[n + 4], quads[n + 8], quads[n + 12]];
            // Even quarters of two groups, odd quarters of two groups.
            let (even_low, odd_low) = (
                _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
            );
            let (even_high, odd_high) = (
                _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d),
            );
            columns[n] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even_low, even_high);
            columns[n + 4] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd_low, odd_high);
            columns[n + 8] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even_low, even_high);
            columns[n + 12] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd_low, odd_high);
        }
        columns
    }
}

impl Lanes for Avx512 {
    const WIDTH: usize = 16;
    type Vector = __m512;

    #[inline(always)]
    unsafe fn load(self, source: *const f32) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives sixteen numbers to read.
        unsafe { _mm512_loadu_ps(source) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, source: *const f32, count: usize) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives `count` numbers to read, and no lane behind
        // them is touched.
        unsafe { _mm512_maskz_loadu_ps(prefix(count), source) }
    }
    #[inline(always)]
    unsafe fn load_half(self, source: *const u16) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives sixteen halves to read.
        // With the current rounding (there is none to do) it reads memory itself; `_mm512_cvtph_ps` would not.
        unsafe {
            let halves = _mm256_loadu_si256(source.cast());
            _mm512_cvt_roundph_ps::<_MM_FROUND_CUR_DIRECTION>(halves)
        }
    }
    #[inline(always)]
    unsafe fn load_half_partial(self, source: *const u16, count: usize) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives `count` halves to read, and no lane behind
        // them is touched.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(prefix(count), source.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bfloat(self, source: *const u16) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives sixteen halves to read.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> __m512 {
        // SAFETY: `self` proves the instructions; the caller gives sixteen bytes to read, and no more are.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(source.cast()))) }
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32, value: __m512) {
        // SAFETY: `self` proves the instructions; the caller gives room for sixteen numbers.
        unsafe { _mm512_storeu_ps(target, value) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, value: __m512, count: usize) {
        // SAFETY: `self` proves the instructions; the caller gives room for `count` numbers, and no lane behind
        // them is touched.
        unsafe { _mm512_mask_storeu_ps(target, prefix(count), value) }
    }
    #[inline(always)]
    unsafe fn store_bytes(self, target: *mut i8, value: __m512) {
        // SAFETY: `self` proves the instructions; the caller gives room for sixteen bytes, and no more are written.
        unsafe {
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value));
            _mm_storeu_si128(target.cast(), bytes);
        }
    }
    #[inline(always)]
    unsafe fn store_words(self, target: *mut i16, value: __m512) {
        // SAFETY: `self` proves the instructions; the caller gives room for sixteen words.
        unsafe {
            let words = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(value));
            _mm256_storeu_si256(target.cast(), words);
        }
    }
    #[inline(always)]
    unsafe fn store_word_pairs(self, target: *mut i16, even: __m512, odd: __m512) {
        // SAFETY: `self` proves the instructions; the caller gives room for 32 words.
        unsafe { _mm512_storeu_si512(target.cast(), word_pairs(even, odd)) }
    }
    #[inline(always)]
    unsafe fn store_byte_pairs(self, target: *mut i8, even: __m512, odd: __m512) {
        // SAFETY: `self` proves the instructions; the caller gives room for 32 bytes, and no more are written.
        unsafe {
            let bytes = _mm512_cvtepi16_epi8(word_pairs(even, odd));
            _mm256_storeu_si256(target.cast(), bytes);
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
        mut each: impl FnMut(usize, __m512),
    ) {
        // SAFETY: `self` proves the instructions; the caller gives sixteen rows of sixteen numbers.
        unsafe {
            let mut rows = [_mm512_setzero_ps(); 16];
            for (index, row) in rows.iter_mut().enumerate() {
                *row = _mm512_loadu_ps(source.add(index * stride));
            }
            for (column, vector) in transpose(rows).into_iter().enumerate() {
                each(column, vector);
            }
        }
    }
    register_methods! {
        fn splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        fn add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        fn sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        fn mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        fn div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fn max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        fn min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fn abs(a: __m512) -> __m512 = _mm512_abs_ps(a);
        fn fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        fn round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        fn power_of_two(a: __m512) -> __m512 = {
            let biased = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        };
        fn keep_from(a: __m512, bound: __m512, value: __m512) -> __m512 =
            _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(a, bound), value);
        fn scale_by_power(a: __m512, exponent: __m512) -> __m512 = _mm512_scalef_ps(a, exponent);
        fn mask_range(value: __m512, begin: usize, end: usize) -> __m512 = {
            let mask = prefix(end) & !prefix(begin);
            _mm512_mask_mov_ps(_mm512_set1_ps(f32::NEG_INFINITY), mask, value)
        };
        fn sum(a: __m512) -> f32 = _mm512_reduce_add_ps(a);
        fn maximum(a: __m512) -> f32 = _mm512_reduce_max_ps(a);
    }
}
