//! An adapter's numbers as they are kept.

use std::ops::Range;

use half::f16;

use crate::read_ahead::ReadAhead;

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
