//! Operations over rows of a NumPy array: the engine's kernels, one call each. Shapes are checked by
//! `ruvllm.kernels`; lengths are checked again in the core, because they must hold.

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model::row_operations;
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
        row_operations::rms_norm(&*choose_kernels(isa)?, input, weight, epsilon)
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
        row_operations::softmax(&*choose_kernels(isa)?, input, columns)
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
        let activation = choice("activation", activation, &ACTIVATIONS)?;
        row_operations::gate(&*choose_kernels(isa)?, activation, gates, ups)
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
    let output = run(x.py(), || {
        row_operations::rotate(
            &*choose_kernels(isa)?,
            input,
            &positions,
            head_dim,
            rotation,
        )
    })?;
    Ok(flat(x.py(), output))
}
