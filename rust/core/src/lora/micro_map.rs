//! A linear map of a MicroLoRA, and numbers for its two matrices.

use crate::error::{Error, Result};

/// More is an adapter that wants to be trained, not to learn by the way.
pub const MAX_RANK: usize = 2;

/// A map, and what messages call it.
#[derive(Debug, Clone)]
pub struct MicroMap {
    /// As `q_proj of layer 3`.
    pub name: String,
    /// Width of the rows that go in.
    pub inputs: usize,
    /// Width of the rows that come out.
    pub outputs: usize,
}

impl MicroMap {
    /// Refuses an input of another length.
    pub(super) fn check_input(&self, input: &[f32]) -> Result<()> {
        self.check_length("input", input.len(), self.inputs)
    }

    /// Refuses an input and something of the output that are of other lengths.
    pub(super) fn check_lengths(&self, input: &[f32], name: &str, output: &[f32]) -> Result<()> {
        self.check_input(input)?;
        self.check_length(name, output.len(), self.outputs)
    }

    /// Refuses another length.
    pub(super) fn check_length(&self, name: &str, found: usize, wanted: usize) -> Result<()> {
        if found == wanted {
            return Ok(());
        }
        Err(Error::Config(format!(
            "{name} has {found} values; for {} it must have {wanted}",
            self.name
        )))
    }
}

/// Numbers for both matrices: for A `[rank, inputs]`, for B turned over `[rank, outputs]`.
#[derive(Debug, Clone)]
pub struct Halves {
    /// Of A.
    pub a: Vec<f32>,
    /// Of B.
    pub b: Vec<f32>,
}

impl Halves {
    pub(super) fn zeros(map: &MicroMap, rank: usize) -> Self {
        Self {
            a: vec![0.0; rank * map.inputs],
            b: vec![0.0; rank * map.outputs],
        }
    }

    pub(super) fn is_finite(&self) -> bool {
        is_finite(&self.a) && is_finite(&self.b)
    }
}

/// Whether all are numbers; without an end before the last one, so that it is done in vectors.
pub(super) fn is_finite(values: &[f32]) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & value.is_finite())
}
