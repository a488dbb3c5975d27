//! From an adapter's matrices, as they were read, to its numbers as they are kept.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use ruvllm_kernels::{LORA_PANEL, LoraNumbersMut};

use crate::error::{Error, Result};

/// All of these bits are set in an f16 that is no number.
const EXPONENT: u16 = 0x7c00;

/// What a matrix holds.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// f32.
    Floats(&'a [f32]),
    /// f16 bits.
    Halves(&'a [u16]),
}

/// A matrix `[rows, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Row by row.
    pub values: Values<'a>,
    /// How many rows.
    pub rows: usize,
    /// How many columns.
    pub columns: usize,
}

impl Values<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Halves(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn to_floats(self) -> Vec<f32> {
        match self {
            Self::Floats(values) => values.to_vec(),
            Self::Halves(bits) => bits.reinterpret_cast::<f16>().to_f32_vec(),
        }
    }

    /// Rounded to f16; an error where one is no number, or becomes none.
    fn to_halves(self) -> Result<Vec<u16>> {
        let bits = match self {
            Self::Floats(values) => {
                let mut bits = vec![0; values.len()];
                let halves = bits.reinterpret_cast_mut::<f16>();
                halves.convert_from_f32_slice(values);
                bits
            }
            Self::Halves(bits) => bits.to_vec(),
        };
        let is_broken = |bits: &u16| bits & EXPONENT == EXPONENT;
        // All are looked at, since that goes in vectors.
        if !bits.iter().fold(false, |any, bits| any | is_broken(bits)) {
            return Ok(bits);
        }
        let place = bits.iter().position(is_broken).unwrap_or_default();
        let value = match self {
            Self::Floats(values) => values[place],
            Self::Halves(bits) => f16::from_bits(bits[place]).to_f32(),
        };
        Err(Error::Adapter(format!(
            "{value}, which is too large for 16 bits, or no number"
        )))
    }
}

/// Writes A: all as it stands.
pub(super) fn write_rows(a: Matrix<'_>, target: LoraNumbersMut<'_>) -> Result<()> {
    match target {
        LoraNumbersMut::F32(target) => target.copy_from_slice(&finite(a.values)?),
        LoraNumbersMut::F16(target) => target.copy_from_slice(&a.values.to_halves()?),
    }
    Ok(())
}

/// Writes B in the panels of [`ruvllm_kernels::RowDelta`], its rows in the order that is given.
pub(super) fn write_panels(
    b: Matrix<'_>,
    order: Option<&[u32]>,
    target: LoraNumbersMut<'_>,
) -> Result<()> {
    match target {
        LoraNumbersMut::F32(target) => turn(&finite(b.values)?, (b.columns, order), target),
        LoraNumbersMut::F16(target) => turn(&b.values.to_halves()?, (b.columns, order), target),
    }
    Ok(())
}

/// Rows of `rank` numbers, so many at a time, column by column.
fn turn<T: Copy>(values: &[T], (rank, order): (usize, Option<&[u32]>), target: &mut [T]) {
    let mut rows: Vec<&[T]> = values.chunks_exact(rank).collect();
    if let Some(order) = order {
        rows = order.iter().map(|row| rows[*row as usize]).collect();
    }
    let panels = target.chunks_exact_mut(rank * LORA_PANEL);
    for (rows, panel) in rows.chunks(LORA_PANEL).zip(panels) {
        for (lane, row) in rows.iter().enumerate() {
            for (column, value) in panel.chunks_exact_mut(LORA_PANEL).zip(*row) {
                column[lane] = *value;
            }
        }
    }
}

fn finite(values: Values<'_>) -> Result<Vec<f32>> {
    let floats = values.to_floats();
    match floats.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::Adapter(format!("{value}, which is no number"))),
        None => Ok(floats),
    }
}
