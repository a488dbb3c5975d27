//! Eight pairs in plain arrays, which the compiler turns into whatever the baseline of the target has.

use super::{LEVELS, Pairs};
use crate::simd::Lanes;
use crate::simd::portable::PortableLanes;

const WIDTH: usize = PortableLanes::WIDTH;

/// These run everywhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortablePairs;

impl Pairs for PortablePairs {
    type Lanes = PortableLanes;
    type Sums = [i32; WIDTH];
    type Words = [[i16; 2]; WIDTH];

    #[inline(always)]
    fn lanes(self) -> PortableLanes {
        PortableLanes
    }
    #[inline(always)]
    fn zero(self) -> Self::Sums {
        [0; WIDTH]
    }
    #[inline(always)]
    fn splat(self, pair: i32) -> Self::Words {
        [[pair as i16, (pair >> 16) as i16]; WIDTH]
    }
    #[inline(always)]
    fn add_products(self, sums: Self::Sums, a: Self::Words, b: Self::Words) -> Self::Sums {
        std::array::from_fn(|lane| {
            let product = |half: usize| i32::from(a[lane][half]) * i32::from(b[lane][half]);
            sums[lane].wrapping_add(product(0)).wrapping_add(product(1))
        })
    }
    #[inline(always)]
    fn floats(self, sums: Self::Sums) -> <PortableLanes as Lanes>::Vector {
        let floats = sums.map(|sum| sum as f32);
        // SAFETY: as many numbers as a vector has lanes.
        unsafe { PortableLanes.load(floats.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn load_words(self, source: *const i16) -> Self::Words {
        // SAFETY: the caller gives eight pairs to read.
        unsafe { source.cast::<Self::Words>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_bytes(self, source: *const i8) -> Self::Words {
        // SAFETY: the caller gives eight pairs of bytes to read.
        let bytes = unsafe { source.cast::<[[i8; 2]; WIDTH]>().read_unaligned() };
        bytes.map(|pair| pair.map(i16::from))
    }
    #[inline(always)]
    unsafe fn load_halves(self, source: *const i8) -> Self::Words {
        // SAFETY: the caller gives eight bytes to read.
        let bytes = unsafe { source.cast::<[i8; WIDTH]>().read_unaligned() };
        bytes.map(|byte| [byte << 4 >> 4, byte >> 4].map(|half| 2 * i16::from(half) + 1))
    }
    #[inline(always)]
    unsafe fn load_eighths(self, [two, third]: [*const i8; 2], pair: usize) -> Self::Words {
        // SAFETY: the caller gives four bytes to read for each of eight lanes, and two.
        let (two, third) = unsafe {
            let two = two.cast::<[[u8; 4]; WIDTH]>().read_unaligned();
            (two, third.cast::<[[u8; 2]; WIDTH]>().read_unaligned())
        };
        std::array::from_fn(|lane| {
            let two = u32::from_le_bytes(two[lane]) >> (2 * pair);
            let level = |second: usize| {
                let high = u32::from(third[lane][second]) >> pair & 1;
                LEVELS[(two >> (16 * second) & 3 | high << 2) as usize]
            };
            [i16::from(level(0)), i16::from(level(1))]
        })
    }
    #[inline(always)]
    unsafe fn load_sums(self, source: *const i32) -> Self::Sums {
        // SAFETY: the caller gives eight sums to read.
        unsafe { source.cast::<Self::Sums>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_sums(self, target: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller gives room for eight sums.
        unsafe { target.cast::<Self::Sums>().write_unaligned(sums) }
    }
}
