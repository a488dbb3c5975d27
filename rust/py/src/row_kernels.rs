//! Operations over rows of a NumPy array: the engine's kernels, one call each. Shapes are checked by
//! `ruvllm.kernels`; lengths are checked again here, because they must hold.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::Error;
use ruvllm_core::error::whole_rows;
use ruvllm_core::model::spec::{RopeScaling, RopeSpec};
use ruvllm_kernels::Activation;

use crate::arrays::{contiguous, flat};
use crate::convert::choice;
use crate::run::run;
use crate::system::choose_kernels;

const ACTIVATIONS: [(&str, Activation); 2] =
    [("silu", Activation::Silu), ("gelu", Activation::GeluTanh)];

type FloatArray<'py> = PyResult<Bound<'py, PyArray1<f32>>>;

/// RMSNorm of every row of `weight`'s length.
#[pyfunction]
pub(crate) fn rms_norm<'py>(
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    epsilon: f32,
    isa: Option<&str>,
) -> FloatArray<'py> {
    let (x_view, weight_view) = (
        contiguous::<f32>("x", x)?,
        contiguous::<f32>("weight", weight)?,
    );
    let (input, weight) = (x_view.as_slice()?, weight_view.as_slice()?);
    let output = run(x.py(), || {
        whole_rows("x", input.len(), weight.len())?;
        let mut output = vec![0.0; input.len()];
        choose_kernels(isa)?.rms_norm(input, weight, epsilon, &mut output);
        Ok(output)
    })?;
    Ok(flat(x.py(), output))
}

/// Softmax of every row of `columns`.
#[pyfunction]
pub(crate) fn softmax<'py>(
    x: &Bound<'py, PyAny>,
    columns: usize,
    isa: Option<&str>,
) -> FloatArray<'py> {
    let view = contiguous::<f32>("x", x)?;
    let input = view.as_slice()?;
    let output = run(x.py(), || {
        whole_rows("x", input.len(), columns)?;
        let kernels = choose_kernels(isa)?;
        let mut output = vec![0.0; input.len()];
        let rows = input
            .chunks_exact(columns)
            .zip(output.chunks_exact_mut(columns));
        rows.for_each(|(input, output)| kernels.softmax(input, output));
        Ok(output)
    })?;
    Ok(flat(x.py(), output))
}

/// `activation(gate) * up`, element by element.
#[pyfunction]
pub(crate) fn gate<'py>(
    gate: &Bound<'py, PyAny>,
    up: &Bound<'py, PyAny>,
    activation: &str,
    isa: Option<&str>,
) -> FloatArray<'py> {
    let (gate_view, up_view) = (
        contiguous::<f32>("gate", gate)?,
        contiguous::<f32>("up", up)?,
    );
    let (gates, ups) = (gate_view.as_slice()?, up_view.as_slice()?);
    let output = run(gate.py(), || {
        if gates.len() != ups.len() {
            let lengths = (gates.len(), ups.len());
            return Err(Error::Config(format!(
                "gate and up have {lengths:?} elements"
            )));
        }
        let activation = choice("activation", activation, &ACTIVATIONS)?;
        let mut output = vec![0.0; gates.len()];
        choose_kernels(isa)?.gate(activation, gates, ups, &mut output);
        Ok(output)
    })?;
    Ok(flat(gate.py(), output))
}

/// Rotates the first `dimensions` of every head; one position for each row of `heads` heads.
#[pyfunction]
pub(crate) fn rope<'py>(
    x: &Bound<'py, PyAny>,
    positions: Vec<usize>,
    head_dim: usize,
    rotation: (usize, f32),
    isa: Option<&str>,
) -> FloatArray<'py> {
    let view = contiguous::<f32>("x", x)?;
    let input = view.as_slice()?;
    let (dimensions, base) = rotation;
    let output = run(x.py(), || {
        whole_rows("x", input.len(), positions.len().saturating_mul(head_dim))?;
        if dimensions > head_dim || !dimensions.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "dimensions is {dimensions}; it must be even and at most head_dim, {head_dim}"
            )));
        }
        let kernels = choose_kernels(isa)?;
        let spec = RopeSpec {
            base,
            dimensions,
            scaling: RopeScaling::None,
        };
        let frequencies = spec.frequencies(0);
        let mut output = input.to_vec();
        let (mut cosines, mut sines) = (vec![0.0; dimensions / 2], vec![0.0; dimensions / 2]);
        let width = input.len() / positions.len().max(1);
        for (position, heads) in positions.iter().zip(output.chunks_exact_mut(width.max(1))) {
            frequencies.fill(*position, &mut cosines, &mut sines);
            kernels.rotate(heads, head_dim, &cosines, &sines);
        }
        Ok(output)
    })?;
    Ok(flat(x.py(), output))
}
