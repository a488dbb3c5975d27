//! An adapter's numbers, in the precision that goes with its model.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use ruvllm_kernels::LoraNumbers;

use crate::error::{Error, Result};

/// All of these bits are set in an f16 that is no number.
const EXPONENT: u16 = 0x7c00;

/// A matrix, row by row.
#[derive(Debug, Clone)]
pub enum Numbers {
    /// f32.
    Floats(Vec<f32>),
    /// f16 bits.
    Halves(Vec<u16>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Halves(Vec::new())
    }
}

impl Numbers {
    /// None yet.
    pub(super) fn new(is_single_precision: bool) -> Self {
        if is_single_precision {
            Self::Floats(Vec::new())
        } else {
            Self::Halves(Vec::new())
        }
    }

    /// More of them; an error where one cannot be kept so.
    pub(super) fn extend(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let broken = match self {
            Self::Floats(kept) => {
                kept.extend_from_slice(values);
                values.iter().find(|value| !value.is_finite())
            }
            Self::Halves(kept) => {
                let first = kept.len();
                kept.resize(first + values.len(), 0);
                let added = &mut kept[first..];
                added
                    .reinterpret_cast_mut::<f16>()
                    .convert_from_f32_slice(values);
                let is_finite = |bits: &u16| bits & EXPONENT != EXPONENT;
                let place = added.iter().position(|bits| !is_finite(bits));
                place.map(|place| &values[place])
            }
        };
        let Some(value) = broken else { return Ok(()) };
        let kind = match self {
            Self::Floats(_) => "no number",
            Self::Halves(_) => "too large for 16 bits, or no number",
        };
        Err(Error::Adapter(format!(
            "{name} holds {value}, which is {kind}"
        )))
    }

    /// As products take them.
    pub(crate) fn view(&self) -> LoraNumbers<'_> {
        match self {
            Self::Floats(values) => LoraNumbers::F32(values),
            Self::Halves(values) => LoraNumbers::F16(values),
        }
    }

    /// What they take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Floats(values) => 4 * values.len(),
            Self::Halves(values) => 2 * values.len(),
        }
    }
}
