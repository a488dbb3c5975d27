//! Weights as 16-bit words, the way to `vpmaddwd`: bytes, f16 and bf16 of a tile, and what the words are worth.

use std::arch::x86_64::*;

use super::register_x86::{EightRows, Register};
use super::unpack_x86::{Scales, weights};
use super::words::LAST_BITS;
use super::words::source::{F16, WORDS};
use crate::quant::coding::stored_bits;
use crate::simd::avx2::Avx2;
use crate::weights::{BLOCK_INPUTS, TILE_ROWS};

/// Vectors of a block and half a tile: two inputs of eight rows each.
pub(super) const VECTORS: usize = BLOCK_INPUTS / 2;
/// Bytes of two inputs of a tile.
pub(super) const VECTOR_BYTES: usize = 64;
/// How far ahead of the conversion memory is asked for, in bytes.
pub(super) const AHEAD: usize = 8192;

/// The scales of a tile.
///
/// # Safety
///
/// Needs AVX2 and F16C; the stream is a tile's, and has as many blocks as there are factors.
#[inline(always)]
pub(super) unsafe fn read_scales<const ENCODING: u8>(
    stream: *const u8,
    factors: &mut [[f32; TILE_ROWS]],
) {
    for half in 0..2 {
        // SAFETY: the stream has a group for every block, and each half of a block's factors has room for a vector.
        unsafe {
            let mut scales = Scales::<_, ENCODING, false>::new(Avx2::assume(), stream, half);
            for (block, factors) in factors.iter_mut().enumerate() {
                scales.begin_block(block);
                let (scale, _) = scales.next_group();
                _mm256_storeu_ps(factors[half * 8..].as_mut_ptr(), scale);
            }
        }
    }
}

/// Makes words of a tile of bytes, or of what places choose, which stand in fours of a row.
///
/// # Safety
///
/// Needs AVX2; the tile has as many blocks of that coding as there are words for.
#[inline(always)]
pub(super) unsafe fn convert_bytes<const CODING: u32>(
    values: *const u8,
    zero: u8,
    words: &mut [[__m256i; 2]],
) {
    let block_bytes = VECTOR_BYTES * stored_bits(CODING) as usize;
    // SAFETY: there is a block for every block's words; the caller has AVX2.
    unsafe {
        let rows = EightRows::new();
        let zero = _mm256_set1_epi16(i16::from(zero));
        let first = _mm256_set1_epi64x(i64::from_le_bytes([0, 255, 1, 255, 4, 255, 5, 255]));
        let second = _mm256_set1_epi64x(i64::from_le_bytes([8, 255, 9, 255, 12, 255, 13, 255]));
        let even = _mm256_unpacklo_epi64(first, second);
        let odd = _mm256_add_epi8(even, _mm256_set1_epi16(2));
        for (block, words) in words.as_chunks_mut::<VECTORS>().0.iter_mut().enumerate() {
            let block = values.add(block * block_bytes);
            for line in 0..stored_bits(CODING) as usize {
                _mm_prefetch::<_MM_HINT_T0>(block.wrapping_add(AHEAD + line * VECTOR_BYTES).cast());
            }
            for half in 0..2 {
                let part = block.add(half * VECTOR_BYTES / 2);
                let fours = [
                    weights::<_, CODING, 0>(rows, part),
                    weights::<_, CODING, 1>(rows, part),
                    weights::<_, CODING, 2>(rows, part),
                    weights::<_, CODING, 3>(rows, part),
                    weights::<_, CODING, 4>(rows, part),
                    weights::<_, CODING, 5>(rows, part),
                    weights::<_, CODING, 6>(rows, part),
                    weights::<_, CODING, 7>(rows, part),
                ];
                for (bytes, pair) in fours.into_iter().zip(words.as_chunks_mut::<2>().0) {
                    for (word, order) in pair.iter_mut().zip([even, odd]) {
                        word[half] = _mm256_sub_epi16(_mm256_shuffle_epi8(bytes, order), zero);
                    }
                }
            }
        }
    }
}

/// Makes words of a tile of 16-bit weights.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C; the tile has as many blocks as there are words for.
#[inline(always)]
pub(super) unsafe fn convert_floats<const SOURCE: u8>(
    (packed, worths): (*const u8, *const u8),
    words: &mut [[__m256i; 2]],
) {
    for (block, words) in words.as_chunks_mut::<VECTORS>().0.iter_mut().enumerate() {
        for half in 0..2 {
            // SAFETY: the tile has as many blocks of packed weights, and of worths, as of words.
            unsafe {
                let (_, scale) = word_scales(worths.add(block * TILE_ROWS + half * 8));
                for (vector, word) in words.iter_mut().enumerate() {
                    let source = packed.add((block * VECTORS + vector) * VECTOR_BYTES);
                    _mm_prefetch::<_MM_HINT_T0>(source.wrapping_add(AHEAD).cast());
                    word[half] = pairs::<SOURCE>(source, half, scale);
                }
            }
        }
    }
}

/// What the words of eight rows are worth, and what makes words of their weights.
///
/// # Safety
///
/// Needs AVX2; `worths` has eight bytes.
#[inline(always)]
pub(super) unsafe fn word_scales(worths: *const u8) -> (__m256, __m256) {
    // SAFETY: the caller gives eight bytes to read.
    unsafe {
        let exponents = _mm256_cvtepu8_epi32(_mm_loadl_epi64(worths.cast()));
        let inverse = _mm256_sub_epi32(_mm256_set1_epi32(254), exponents);
        let power = |exponents| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponents));
        (power(exponents), power(inverse))
    }
}

/// Two inputs of eight rows as pairs of words.
///
/// # Safety
///
/// Needs AVX2, FMA and F16C; `source` has 64 bytes.
#[inline(always)]
pub(super) unsafe fn pairs<const SOURCE: u8>(
    source: *const u8,
    half: usize,
    scale: __m256,
) -> __m256i {
    // SAFETY: of the caller's 64 bytes an input is sixteen rows of two, a pair of words eight rows of four.
    unsafe {
        if SOURCE == WORDS {
            return _mm256_loadu_si256(source.add(half * 32).cast());
        }
        let word = |input: usize| {
            let bits = _mm_loadu_si128(source.add(input * 32 + half * 16).cast());
            let value = if SOURCE == F16 {
                _mm256_cvtph_ps(bits)
            } else {
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            };
            // The sum's last bits are the integer, rounded to even.
            _mm256_castps_si256(_mm256_fmadd_ps(value, scale, _mm256_set1_ps(LAST_BITS)))
        };
        _mm256_blend_epi16::<0b1010_1010>(word(0), _mm256_slli_epi32::<16>(word(1)))
    }
}
