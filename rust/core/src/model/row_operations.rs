//! Operations over rows of numbers, one by one, for whoever has no model: each is the engine's kernel.

use ruvllm_kernels::{Activation, Kernels};

use super::spec::{RopeScaling, RopeSpec};
use crate::error::{Error, Result, whole_rows};

/// RMSNorm of every row of `weight`'s length.
pub fn rms_norm(
    kernels: &dyn Kernels,
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
) -> Result<Vec<f32>> {
    whole_rows("x", x.len(), weight.len())?;
    let mut output = vec![0.0; x.len()];
    kernels.rms_norm(x, weight, epsilon, &mut output);
    Ok(output)
}

/// Softmax of every row of `columns`.
pub fn softmax(kernels: &dyn Kernels, x: &[f32], columns: usize) -> Result<Vec<f32>> {
    whole_rows("x", x.len(), columns)?;
    let mut output = vec![0.0; x.len()];
    let rows = x.chunks_exact(columns);
    for (input, output) in rows.zip(output.chunks_exact_mut(columns)) {
        kernels.softmax(input, output);
    }
    Ok(output)
}

/// `activation(gate) * up`, element by element.
pub fn gate(
    kernels: &dyn Kernels,
    activation: Activation,
    gate: &[f32],
    up: &[f32],
) -> Result<Vec<f32>> {
    if gate.len() != up.len() {
        let lengths = (gate.len(), up.len());
        return Err(Error::Config(format!(
            "gate and up have {lengths:?} elements"
        )));
    }
    let mut output = vec![0.0; gate.len()];
    kernels.gate(activation, gate, up, &mut output);
    Ok(output)
}

/// Rotates the first `dimensions` of every head of `head_dim`; one position for each row of heads.
pub fn rotate(
    kernels: &dyn Kernels,
    x: &[f32],
    positions: &[usize],
    head_dim: usize,
    (dimensions, base): (usize, f32),
) -> Result<Vec<f32>> {
    whole_rows("x", x.len(), positions.len().saturating_mul(head_dim))?;
    if dimensions > head_dim || !dimensions.is_multiple_of(2) {
        return Err(Error::Config(format!(
            "dimensions is {dimensions}; it must be even and at most head_dim, {head_dim}"
        )));
    }
    let spec = RopeSpec {
        base,
        dimensions,
        scaling: RopeScaling::None,
    };
    let frequencies = spec.frequencies(0);
    let mut output = x.to_vec();
    let (mut cosines, mut sines) = (vec![0.0; dimensions / 2], vec![0.0; dimensions / 2]);
    let width = x.len() / positions.len().max(1);
    for (position, heads) in positions.iter().zip(output.chunks_exact_mut(width.max(1))) {
        frequencies.fill(*position, &mut cosines, &mut sines);
        kernels.rotate(heads, head_dim, &cosines, &sines);
    }
    Ok(output)
}
