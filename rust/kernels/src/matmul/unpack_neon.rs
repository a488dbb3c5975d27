//! The packed streams as NEON vectors: integers of eight rows, half a tile, and their scales.

use std::arch::aarch64::*;

use crate::quant::coding::{FLOATS, NONLINEAR, ODD, entries};
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
use crate::simd::{Lanes, neon::Neon};
use crate::weights::{TILE_ROWS, VECTOR_BYTES};

/// Bytes of eight rows in a packed vector.
pub(super) const HALF_VECTOR: usize = VECTOR_BYTES / 2;

/// Inputs `4 * STEP..` of eight rows, four bytes a row; 8-bit integers, and what places choose, come less 128.
///
/// # Safety
///
/// `values` stands at the half's bytes of a packed block of that coding.
#[inline(always)]
pub(super) unsafe fn weights<const CODING: u32, const STEP: usize>(
    values: *const u8,
) -> [int8x16_t; 2] {
    // SAFETY: a block is 64 bytes for every bit of a weight, 32 of them for each half.
    unsafe {
        let of_four_rows = |quarter: usize| {
            let load = |vector: usize| vld1q_u8(values.add(vector * VECTOR_BYTES + quarter * 16));
            if CODING == 8 {
                return vreinterpretq_s8_u8(veorq_u8(load(STEP), vdupq_n_u8(128)));
            }
            let packed = load(STEP % 4);
            let nibbles = nibbles::<STEP>(packed);
            vreinterpretq_s8_u8(match CODING {
                5 => {
                    let plane = load(4);
                    let high = match STEP {
                        0 => vshlq_n_u8::<4>(plane),
                        1 => vshlq_n_u8::<3>(plane),
                        2 => vshlq_n_u8::<2>(plane),
                        3 => vshlq_n_u8::<1>(plane),
                        4 => plane,
                        5 => vshrq_n_u8::<1>(plane),
                        6 => vshrq_n_u8::<2>(plane),
                        _ => vshrq_n_u8::<3>(plane),
                    };
                    vbslq_u8(vdupq_n_u8(0x10), high, nibbles)
                }
                6 => {
                    let plane = load(4 + STEP / 4);
                    let high = match STEP % 4 {
                        0 => vshlq_n_u8::<4>(plane),
                        1 => vshlq_n_u8::<2>(plane),
                        2 => plane,
                        _ => vshrq_n_u8::<2>(plane),
                    };
                    vbslq_u8(vdupq_n_u8(0x30), high, nibbles)
                }
                _ => chosen::<CODING>(nibbles),
            })
        };
        [of_four_rows(0), of_four_rows(1)]
    }
}

/// Inputs `8 * STEP..` of eight rows, two rows of eight bytes a vector; 8-bit integers, and what places choose, come less
/// 128.
///
/// # Safety
///
/// As `weights`.
#[inline(always)]
pub(super) unsafe fn paired_weights<const CODING: u32, const STEP: usize>(
    values: *const u8,
) -> [int8x16_t; 4] {
    // SAFETY: a block is 64 bytes for every bit of a weight, 32 of them for each half.
    unsafe {
        let mut pairs = [vdupq_n_s8(0); 4];
        for quarter in 0..2 {
            let load = |vector: usize| {
                let bytes = vld1q_u8(values.add(vector * VECTOR_BYTES + quarter * 16));
                vreinterpretq_u32_u8(bytes)
            };
            // Four inputs of a row and the four that follow stand in neighbouring vectors.
            let first = if CODING == 8 { 2 * STEP } else { 2 * STEP % 4 };
            let (even, odd) = (load(first), load(first + 1));
            let both = [vzip1q_u32(even, odd), vzip2q_u32(even, odd)];
            let planes = match CODING {
                5 => load(4),
                6 => load(4 + STEP / 2),
                _ => even,
            };
            let planes = [vzip1q_u32(planes, planes), vzip2q_u32(planes, planes)];
            for (pair, (packed, plane)) in both.into_iter().zip(planes).enumerate() {
                let packed = vreinterpretq_u8_u32(packed);
                let integers = match CODING {
                    8 => veorq_u8(packed, vdupq_n_u8(128)),
                    4 | NONLINEAR | FLOATS | ODD => {
                        chosen::<CODING>(nibbles_of_eight::<STEP>(packed))
                    }
                    _ => {
                        let width = CODING as i32 - 4;
                        let high = vshlq_u8(vreinterpretq_u8_u32(plane), to_place::<STEP>(width));
                        let mask = vdupq_n_u8(((1 << width) - 1) << 4);
                        vbslq_u8(mask, high, nibbles_of_eight::<STEP>(packed))
                    }
                };
                pairs[2 * quarter + pair] = vreinterpretq_s8_u8(integers);
            }
        }
        pairs
    }
}

/// The entries that places choose, less 128; integers as they are.
#[inline(always)]
unsafe fn chosen<const CODING: u32>(nibbles: uint8x16_t) -> uint8x16_t {
    let Some(entries) = entries(CODING) else {
        return nibbles;
    };
    // SAFETY: NEON is the baseline of the target; sixteen bytes are read of as many.
    unsafe {
        let signed = veorq_u8(vld1q_u8(entries.as_ptr()), vdupq_n_u8(128));
        vqtbl1q_u8(signed, nibbles)
    }
}

/// The low or the high four bits, whichever hold the inputs `4 * STEP..`.
#[inline(always)]
unsafe fn nibbles<const STEP: usize>(packed: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is the baseline of the target; only registers are touched.
    unsafe {
        if STEP < 4 {
            vandq_u8(packed, vdupq_n_u8(15))
        } else {
            vshrq_n_u8::<4>(packed)
        }
    }
}

/// The same for the inputs `8 * STEP..`.
#[inline(always)]
unsafe fn nibbles_of_eight<const STEP: usize>(packed: uint8x16_t) -> uint8x16_t {
    // SAFETY: NEON is the baseline of the target; only registers are touched.
    unsafe {
        if STEP < 2 {
            nibbles::<0>(packed)
        } else {
            nibbles::<4>(packed)
        }
    }
}

/// Left shifts that bring the bits above the low four of inputs `8 * STEP..` to bit 4: one for the
/// first four inputs of each row, one for the next.
#[inline(always)]
unsafe fn to_place<const STEP: usize>(width: i32) -> int8x16_t {
    let shift = |vector: i32| (4 - vector * width % 8).cast_unsigned() & 0xff;
    let first = shift(2 * STEP as i32) * 0x0101_0101;
    let second = shift(2 * STEP as i32 + 1) * 0x0101_0101;
    // SAFETY: NEON is the baseline of the target; only registers are touched.
    unsafe { vreinterpretq_s8_u64(vdupq_n_u64(u64::from(second) << 32 | u64::from(first))) }
}

/// Reads the scale stream of a tile.
#[derive(Clone, Copy)]
pub(super) struct Scales<const ENCODING: u8, const MINIMUM: bool> {
    /// The bases of the super-block.
    bases: *const u8,
    /// The current group.
    group: *const u8,
}

impl<const ENCODING: u8, const MINIMUM: bool> Scales<ENCODING, MINIMUM> {
    /// Bytes of the sixteen scales, or minimums, of a group.
    const BYTES: usize = TILE_ROWS
        * match ENCODING {
            HALF_SCALES | BFLOAT_SCALES => 2,
            SINGLE_SCALES => 4,
            _ => 1,
        };
    /// What a group, or a super-block, has sixteen of.
    const KINDS: usize = 1 + MINIMUM as usize;

    #[inline(always)]
    pub(super) fn new(stream: *const u8) -> Self {
        Self {
            bases: stream,
            group: stream,
        }
    }

    /// Goes to the first group of `block`.
    ///
    /// # Safety
    ///
    /// The groups of all blocks before were ended.
    #[inline(always)]
    pub(super) unsafe fn begin_block(&mut self, block: usize) {
        if ENCODING == SUPER_SCALES && block.is_multiple_of(8) {
            self.bases = self.group;
            // SAFETY: a super-block begins with its bases, in f16.
            self.group = unsafe { self.group.add(Self::KINDS * TILE_ROWS * 2) };
        }
    }

    /// Goes to the next group.
    ///
    /// # Safety
    ///
    /// The stream holds the current one.
    #[inline(always)]
    pub(super) unsafe fn end_group(&mut self) {
        // SAFETY: the stream holds the group, so what is behind it is inside or its end.
        self.group = unsafe { self.group.add(Self::KINDS * Self::BYTES) };
    }

    /// Scales and minimums of the group for the rows `8 * half..`, a lane a row.
    ///
    /// # Safety
    ///
    /// `group` and `bases` stand at whole groups of 16.
    #[inline(always)]
    pub(super) unsafe fn of_half(&self, half: usize) -> ([float32x4_t; 2], [float32x4_t; 2]) {
        // SAFETY: the minimums, where the layout has them, stand behind the scales.
        unsafe {
            let scales = Self::eight(self.group, self.bases, half);
            let minimums = if MINIMUM {
                let bases = self.bases.add(TILE_ROWS * 2);
                Self::eight(self.group.add(Self::BYTES), bases, half)
            } else {
                [vdupq_n_f32(0.0); 2]
            };
            (scales, minimums)
        }
    }

    /// # Safety
    ///
    /// As [`Self::of_half`].
    #[inline(always)]
    unsafe fn eight(group: *const u8, bases: *const u8, half: usize) -> [float32x4_t; 2] {
        // SAFETY: group and bases are sixteen values, of which the half's eight are read.
        unsafe {
            let values = group.add(half * Self::BYTES / 2);
            match ENCODING {
                HALF_SCALES => eight_halves(values),
                BFLOAT_SCALES => [
                    Neon::new().load_bfloat(values.cast()),
                    Neon::new().load_bfloat(values.add(8).cast()),
                ],
                SINGLE_SCALES => [
                    Neon::new().load(values.cast()),
                    Neon::new().load(values.add(16).cast()),
                ],
                _ => {
                    let small = vmovl_s8(vld1_s8(values.cast()));
                    let base = eight_halves(bases.add(half * TILE_ROWS));
                    [
                        vmulq_f32(base[0], vcvtq_f32_s32(vmovl_s16(vget_low_s16(small)))),
                        vmulq_f32(base[1], vcvtq_f32_s32(vmovl_high_s16(small))),
                    ]
                }
            }
        }
    }
}

/// # Safety
///
/// `source` has 16 bytes.
#[inline(always)]
unsafe fn eight_halves(source: *const u8) -> [float32x4_t; 2] {
    // SAFETY: the caller has 16 bytes there.
    unsafe {
        [
            Neon::new().load_half(source.cast()),
            Neon::new().load_half(source.add(8).cast()),
        ]
    }
}
