//! The packed streams as AVX-512 vectors: integers of sixteen rows, and their scales.

use std::arch::x86_64::*;

use crate::quant::coding::entries;
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
use crate::weights::VECTOR_BYTES;

/// Inputs `4 * STEP..` of a block, four bytes a row.
///
/// # Safety
///
/// Needs AVX-512 F and BW; `block` is valid for one packed block of that coding.
#[inline(always)]
pub(super) unsafe fn weights<const CODING: u32, const STEP: usize>(block: *const u8) -> __m512i {
    // SAFETY: the caller has AVX-512; a block is 64 bytes for every bit of a weight.
    unsafe {
        let load = |vector: usize| _mm512_loadu_si512(block.add(vector * VECTOR_BYTES).cast());
        if CODING == 8 {
            return load(STEP);
        }
        let packed = load(STEP % 4);
        let low = _mm512_set1_epi8(15);
        let nibbles = if STEP < 4 {
            _mm512_and_si512(packed, low)
        } else {
            _mm512_and_si512(_mm512_srli_epi16::<4>(packed), low)
        };
        // The bits above come to their place by a shift; `a | (b & c)` is one instruction.
        match CODING {
            5 => {
                let plane = load(4);
                let high = match STEP {
                    0 => _mm512_slli_epi16::<4>(plane),
                    1 => _mm512_slli_epi16::<3>(plane),
                    2 => _mm512_slli_epi16::<2>(plane),
                    3 => _mm512_slli_epi16::<1>(plane),
                    4 => plane,
                    5 => _mm512_srli_epi16::<1>(plane),
                    6 => _mm512_srli_epi16::<2>(plane),
                    _ => _mm512_srli_epi16::<3>(plane),
                };
                _mm512_ternarylogic_epi32::<0xf8>(nibbles, high, _mm512_set1_epi8(0x10))
            }
            6 => {
                let plane = load(4 + STEP / 4);
                let high = match STEP % 4 {
                    0 => _mm512_slli_epi16::<4>(plane),
                    1 => _mm512_slli_epi16::<2>(plane),
                    2 => plane,
                    _ => _mm512_srli_epi16::<2>(plane),
                };
                _mm512_ternarylogic_epi32::<0xf8>(nibbles, high, _mm512_set1_epi8(0x30))
            }
            _ => match entries(CODING) {
                Some(entries) => {
                    let entries = _mm_loadu_si128(entries.as_ptr().cast());
                    _mm512_shuffle_epi8(_mm512_broadcast_i32x4(entries), nibbles)
                }
                None => nibbles,
            },
        }
    }
}

/// Reads the scale stream of a tile.
#[derive(Clone, Copy)]
pub(super) struct Scales<const ENCODING: u8, const MINIMUM: bool> {
    next: *const u8,
    base: __m512,
    base_minimum: __m512,
}

impl<const ENCODING: u8, const MINIMUM: bool> Scales<ENCODING, MINIMUM> {
    /// # Safety
    ///
    /// Needs AVX-512 F; `stream` is a tile's scales.
    #[inline(always)]
    pub(super) unsafe fn new(stream: *const u8) -> Self {
        // SAFETY: a register is filled; the caller has AVX-512 F.
        let none = unsafe { _mm512_setzero_ps() };
        Self {
            next: stream,
            base: none,
            base_minimum: none,
        }
    }

    /// Where the next group's stand.
    #[inline(always)]
    pub(super) fn place(&self) -> *const u8 {
        self.next
    }

    /// # Safety
    ///
    /// `next` stands at the beginning of `block`.
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

    /// The scale and the minimum of the next group, a lane a row.
    ///
    /// # Safety
    ///
    /// `next` stands at the beginning of a group.
    #[inline(always)]
    pub(super) unsafe fn next_group(&mut self) -> (__m512, __m512) {
        // SAFETY: a group holds 16 scales, then 16 minimums where the layout has them.
        unsafe {
            let scale = self.take(self.base);
            let minimum = if MINIMUM {
                self.take(self.base_minimum)
            } else {
                _mm512_setzero_ps()
            };
            (scale, minimum)
        }
    }

    /// # Safety
    ///
    /// As [`Self::next_group`], at sixteen of its values.
    #[inline(always)]
    unsafe fn take(&mut self, base: __m512) -> __m512 {
        // SAFETY: sixteen values of the encoding's width stand there.
        unsafe {
            match ENCODING {
                HALF_SCALES => self.take_half(),
                BFLOAT_SCALES => {
                    let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(self.next.cast()));
                    self.next = self.next.add(32);
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
                }
                SINGLE_SCALES => {
                    let value = _mm512_loadu_ps(self.next.cast());
                    self.next = self.next.add(64);
                    value
                }
                _ => {
                    let small = _mm512_cvtepi8_epi32(_mm_loadu_si128(self.next.cast()));
                    self.next = self.next.add(16);
                    _mm512_mul_ps(base, _mm512_cvtepi32_ps(small))
                }
            }
        }
    }

    /// # Safety
    ///
    /// The stream stands at sixteen halves.
    #[inline(always)]
    unsafe fn take_half(&mut self) -> __m512 {
        // SAFETY: 32 bytes stand there.
        unsafe {
            let value = _mm512_cvtph_ps(_mm256_loadu_si256(self.next.cast()));
            self.next = self.next.add(32);
            value
        }
    }
}
