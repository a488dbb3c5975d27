//! The packed streams as vectors of AVX2 and SSE4.2: integers of the rows of a register, and their scales.

use super::register_x86::Register;
use crate::quant::coding::entries;
use crate::quant::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
use crate::simd::Lanes;
use crate::weights::{TILE_ROWS, VECTOR_BYTES};

/// Inputs `4 * STEP..` of the rows of a register, four bytes a row.
///
/// # Safety
///
/// `block` stands at the register's part of a packed block of that coding.
#[inline(always)]
pub(super) unsafe fn weights<R: Register, const CODING: u32, const STEP: usize>(
    register: R,
    block: *const u8,
) -> R::Bytes {
    // SAFETY: a block is a vector for every bit of a weight, and the register's part of each is there.
    let load = |vector: usize| unsafe { register.load(block.add(vector * VECTOR_BYTES)) };
    if CODING == 8 {
        return load(STEP);
    }
    let packed = load(STEP % 4);
    let low = register.splat(15);
    let nibbles = if STEP < 4 {
        register.and(packed, low)
    } else {
        register.and(register.right::<4>(packed), low)
    };
    let (high, mask) = match CODING {
        5 => {
            let plane = load(4);
            let high = match STEP {
                0 => register.left::<4>(plane),
                1 => register.left::<3>(plane),
                2 => register.left::<2>(plane),
                3 => register.left::<1>(plane),
                4 => plane,
                5 => register.right::<1>(plane),
                6 => register.right::<2>(plane),
                _ => register.right::<3>(plane),
            };
            (high, 0x10)
        }
        6 => {
            let plane = load(4 + STEP / 4);
            let high = match STEP % 4 {
                0 => register.left::<4>(plane),
                1 => register.left::<2>(plane),
                2 => plane,
                _ => register.right::<2>(plane),
            };
            (high, 0x30)
        }
        _ => return entries(CODING).map_or(nibbles, |entries| register.look_up(entries, nibbles)),
    };
    register.or(nibbles, register.and(high, register.splat(mask)))
}

/// Reads the scale stream of a part of a tile: as many rows as a vector has lanes.
pub(super) struct Scales<L: Lanes, const ENCODING: u8, const MINIMUM: bool> {
    lanes: L,
    next: *const u8,
    part: usize,
    base: L::Vector,
    base_minimum: L::Vector,
}

impl<L: Lanes, const ENCODING: u8, const MINIMUM: bool> Scales<L, ENCODING, MINIMUM> {
    /// `stream` is a tile's scales.
    #[inline(always)]
    pub(super) fn new(lanes: L, stream: *const u8, part: usize) -> Self {
        let none = lanes.splat(0.0);
        Self {
            lanes,
            next: stream,
            part,
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
    pub(super) unsafe fn next_group(&mut self) -> (L::Vector, L::Vector) {
        // SAFETY: a group holds 16 scales, then 16 minimums where the layout has them.
        unsafe {
            let scale = self.take(self.base);
            let minimum = if MINIMUM {
                self.take(self.base_minimum)
            } else {
                self.lanes.splat(0.0)
            };
            (scale, minimum)
        }
    }

    /// # Safety
    ///
    /// As [`Self::next_group`], at sixteen of its values.
    #[inline(always)]
    unsafe fn take(&mut self, base: L::Vector) -> L::Vector {
        // SAFETY: sixteen values of the encoding's width stand there, of which the part's are read.
        unsafe {
            match ENCODING {
                HALF_SCALES => self.take_half(),
                BFLOAT_SCALES => self.lanes.load_bfloat(self.bytes::<2>().cast()),
                SINGLE_SCALES => self.lanes.load(self.bytes::<4>().cast()),
                _ => {
                    let small = self.lanes.load_bytes(self.bytes::<1>().cast());
                    self.lanes.mul(base, small)
                }
            }
        }
    }

    /// # Safety
    ///
    /// The stream stands at sixteen halves.
    #[inline(always)]
    unsafe fn take_half(&mut self) -> L::Vector {
        // SAFETY: sixteen halves stand there, of which the part's are read.
        unsafe { self.lanes.load_half(self.bytes::<2>().cast()) }
    }

    /// The part's share of the next sixteen values of `WIDTH` bytes.
    ///
    /// # Safety
    ///
    /// The stream has as many.
    #[inline(always)]
    unsafe fn bytes<const WIDTH: usize>(&mut self) -> *const u8 {
        // SAFETY: sixteen values stand there: the pointers lie among them or just behind.
        unsafe {
            let own = self.next.add(self.part * WIDTH * L::WIDTH);
            self.next = self.next.add(WIDTH * TILE_ROWS);
            own
        }
    }
}
