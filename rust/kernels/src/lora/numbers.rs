//! An adapter's numbers as they are kept.

use std::ops::Range;

use half::f16;

use crate::read_ahead::ReadAhead;
use crate::simd::Lanes;

/// Outputs whose numbers of B stand together.
pub const LORA_PANEL: usize = 16;

/// A matrix, row by row.
#[derive(Debug, Clone, Copy)]
pub enum LoraNumbers<'a> {
    /// f32, beside weights that are.
    F32(&'a [f32]),
    /// f16 bits.
    F16(&'a [u16]),
}

/// The same, to write.
#[derive(Debug)]
pub enum LoraNumbersMut<'a> {
    /// f32.
    F32(&'a mut [f32]),
    /// f16 bits.
    F16(&'a mut [u16]),
}

/// A number as it is kept, f32 or the bits of f16, which becomes f32 as it is read.
pub(crate) trait LoraNumber: Copy {
    /// # Safety
    ///
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector;
    /// # Safety
    ///
    /// As [`Lanes::load_partial`].
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector;
}

impl LoraNumber for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_partial(source, count) }
    }
}

impl LoraNumber for u16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_half(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_half_partial(source, count) }
    }
}

impl LoraNumbers<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where they stand, to ask memory for them.
    pub fn read_ahead(&self) -> ReadAhead {
        match self {
            Self::F32(values) => ReadAhead::beginning_of(values),
            Self::F16(values) => ReadAhead::beginning_of(values),
        }
    }

    /// Some of them.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub(crate) fn part(&self, places: Range<usize>) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[places]),
            Self::F16(values) => Self::F16(&values[places]),
        }
    }

    /// One of them.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub(super) fn number(&self, place: usize) -> f32 {
        match self {
            Self::F32(values) => values[place],
            Self::F16(values) => f16::from_bits(values[place]).to_f32(),
        }
    }
}
