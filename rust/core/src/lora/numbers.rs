//! An adapter's numbers, in the precision that goes with its model.

use half::f16;
use ruvllm_kernels::LoraNumbers;

use crate::error::{Error, Result};

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
    pub(super) fn extend<'a>(
        &mut self,
        name: &str,
        values: impl Iterator<Item = &'a f32>,
    ) -> Result<()> {
        for value in values {
            let is_kept = match self {
                Self::Floats(kept) => {
                    kept.push(*value);
                    value.is_finite()
                }
                Self::Halves(kept) => {
                    let half = f16::from_f32(*value);
                    kept.push(half.to_bits());
                    half.is_finite()
                }
            };
            if !is_kept {
                let kind = match self {
                    Self::Floats(_) => "no number",
                    Self::Halves(_) => "too large for 16 bits, or no number",
                };
                return Err(Error::Adapter(format!(
                    "{name} holds {value}, which is {kind}"
                )));
            }
        }
        Ok(())
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
