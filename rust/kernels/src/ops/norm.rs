//! RMSNorm: `y = x / sqrt(mean(x^2) + epsilon) * weight`.

use crate::simd::{Lanes, vectors, vectors_mut};

/// Norms one row; the three slices are of one length.
#[inline(always)]
pub(crate) fn rms_norm<L: Lanes>(
    lanes: L,
    input: &[f32],
    weight: &[f32],
    epsilon: f32,
    output: &mut [f32],
) {
    let (inputs, last_inputs) = vectors::<L>(input);
    let mut squares = lanes.splat(0.0);
    for values in inputs.clone() {
        let values = lanes.load_up_to(values);
        squares = lanes.fma(values, values, squares);
    }
    let values = lanes.load_up_to(last_inputs);
    squares = lanes.fma(values, values, squares);
    let mean = lanes.sum(squares) / input.len() as f32;
    let factor = lanes.splat(1.0 / (mean + epsilon).sqrt());
    let (weights, last_weights) = vectors::<L>(weight);
    let (targets, last_targets) = vectors_mut::<L>(output);
    for ((values, weights), targets) in inputs.zip(weights).zip(targets) {
        scale(lanes, factor, (values, weights), targets);
    }
    scale(lanes, factor, (last_inputs, last_weights), last_targets);
}

/// A vector of values times its weights and the row's factor.
#[inline(always)]
fn scale<L: Lanes>(
    lanes: L,
    factor: L::Vector,
    (values, weights): (&[f32], &[f32]),
    targets: &mut [f32],
) {
    let normed = lanes.mul(lanes.load_up_to(values), factor);
    lanes.store_up_to(targets, lanes.mul(normed, lanes.load_up_to(weights)));
}

/// Adds one row to another of its length.
#[inline(always)]
pub(crate) fn add<L: Lanes>(lanes: L, input: &[f32], accumulator: &mut [f32]) {
    let (inputs, last_inputs) = vectors::<L>(input);
    let (targets, last_targets) = vectors_mut::<L>(accumulator);
    for (values, targets) in inputs.zip(targets) {
        add_vector(lanes, values, targets);
    }
    add_vector(lanes, last_inputs, last_targets);
}

#[inline(always)]
fn add_vector<L: Lanes>(lanes: L, values: &[f32], targets: &mut [f32]) {
    let sum = lanes.add(lanes.load_up_to(targets), lanes.load_up_to(values));
    lanes.store_up_to(targets, sum);
}
