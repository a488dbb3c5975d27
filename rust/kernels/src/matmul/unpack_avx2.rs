//! The packed streams as AVX2 vectors: integers of eight rows, and their scales.

use std::arch::x86_64::*;

use crate::quant::{HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
use crate::weights::{TILE_ROWS, VECTOR_BYTES};

/// Inputs `4 * STEP..` of half a block, four bytes a row.
///
/// # Safety
///
/// Needs AVX2; `block` stands at half of a packed block of `BITS` bits.
#[inline(always)]
pub(super) unsafe fn weights<const BITS: u32, const STEP: usize>(block: *const u8) -> __m256i {
    // SAFETY: a block is a vector for every bit of a weight, and half of each is 32 bytes.
    unsafe {
        let load = |vector: usize| _mm256_loadu_si256(block.add(vector * VECTOR_BYTES).cast());
        if BITS == 8 {
            return load(STEP);
        }
        let packed = load(STEP % 4);
        let low = _mm256_set1_epi8(15);
        let nibbles = if STEP < 4 {
            _mm256_and_si256(packed, low)
        } else {
            _mm256_and_si256(_mm256_srli_epi16::<4>(packed), low)
        };
        let (high, mask) = match BITS {
            5 => {
                let plane = load(4);
                let high = match STEP {
                    0 => _mm256_slli_epi16::<4>(plane),
                    1 => _mm256_slli_epi16::<3>(plane),
                    2 => _mm256_slli_epi16::<2>(plane),
                    3 => _mm256_slli_epi16::<1>(plane),
                    4 => plane,
                    5 => _mm256_srli_epi16::<1>(plane),
                    6 => _mm256_srli_epi16::<2>(plane),
                    _ => _mm256_srli_epi16::<3>(plane),
                };
                (high, 0x10)
            }
            6 => {
                let plane = load(4 + STEP / 4);
                let high = match STEP % 4 {
                    0 => _mm256_slli_epi16::<4>(plane),
                    1 => _mm256_slli_epi16::<2>(plane),
                    2 => plane,
                    _ => _mm256_srli_epi16::<2>(plane),
                };
                (high, 0x30)
            }
            _ => return nibbles,
        };
        _mm256_or_si256(nibbles, _mm256_and_si256(high, _mm256_set1_epi8(mask)))
    }
}

/// Reads the scale stream of half a tile.
pub(super) struct Scales<const ENCODING: u8, const MINIMUM: bool> {
    next: *const u8,
    half: usize,
    base: __m256,
    base_minimum: __m256,
}

impl<const ENCODING: u8, const MINIMUM: bool> Scales<ENCODING, MINIMUM> {
    /// # Safety
    ///
    /// Needs AVX2; `stream` is a tile's scales.
    #[inline(always)]
    pub(super) unsafe fn new(stream: *const u8, half: usize) -> Self {
        // SAFETY: a register is filled; the caller has AVX2.
        let none = unsafe { _mm256_setzero_ps() };
        Self {
            next: stream,
            half,
            base: none,
            base_minimum: none,
        }
    }

    /// # Safety
    ///
    /// The stream stands at the beginning of `block`.
    #[inline(always)]
    pub(super) unsafe fn begin_block(&mut self, block: usize) {
        if ENCODING == SUPER_SCALES && block.is_multiple_of(8) {
            // SAFETY: a super-block begins with its bases.
            unsafe {
                self.base = self.take_half();
                if MINIMUM {
                    self.base_minimum = self.take_half();
                }
            }
        }
    }

    /// The scale and the minimum of the next group.
    ///
    /// # Safety
    ///
    /// The stream stands at the beginning of a group.
    #[inline(always)]
    pub(super) unsafe fn next_group(&mut self) -> (__m256, __m256) {
        // SAFETY: a group holds 16 scales, then 16 minimums where the layout has them.
        unsafe {
            let scale = self.take(self.base);
            let minimum = if MINIMUM {
                self.take(self.base_minimum)
            } else {
                _mm256_setzero_ps()
            };
            (scale, minimum)
        }
    }

    /// # Safety
    ///
    /// As [`Self::next_group`], at sixteen of its values.
    #[inline(always)]
    unsafe fn take(&mut self, base: __m256) -> __m256 {
        // SAFETY: sixteen values of the encoding's width stand there, of which the half's eight are read.
        unsafe {
            match ENCODING {
                HALF_SCALES => self.take_half(),
                SINGLE_SCALES => _mm256_loadu_ps(self.bytes::<4>().cast()),
                _ => {
                    let small = _mm_loadl_epi64(self.bytes::<1>().cast());
                    _mm256_mul_ps(base, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(small)))
                }
            }
        }
    }

    /// # Safety
    ///
    /// The stream stands at sixteen halves.
    #[inline(always)]
    unsafe fn take_half(&mut self) -> __m256 {
        // SAFETY: sixteen halves stand there, of which eight are read.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(self.bytes::<2>().cast())) }
    }

    /// The half's share of the next sixteen values of `WIDTH` bytes.
    ///
    /// # Safety
    ///
    /// The stream has as many.
    #[inline(always)]
    unsafe fn bytes<const WIDTH: usize>(&mut self) -> *const u8 {
        // SAFETY: sixteen values stand there: the pointers lie among them or just behind.
        unsafe {
            let own = self.next.add(self.half * WIDTH * TILE_ROWS / 2);
            self.next = self.next.add(WIDTH * TILE_ROWS);
            own
        }
    }
}
