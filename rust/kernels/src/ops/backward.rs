//! What row operations make of gradients.

use crate::Activation;
use crate::simd::{Lanes, sigmoid, vectors, vectors_mut};

use super::activation::{GELU_CUBIC, GELU_FACTOR};

/// Of one row: `gradient += d norm(input) / d input * output_gradient`; all slices are of one length.
///
/// With `r = 1 / sqrt(mean(x^2) + epsilon)` and `g = weight * output_gradient` it is `r g - x r^3 mean(x g)`.
#[inline(always)]
pub(crate) fn rms_norm<L: Lanes>(
    lanes: L,
    (input, weight, epsilon): (&[f32], &[f32], f32),
    output_gradient: &[f32],
    gradient: &mut [f32],
) {
    let (inputs, last_inputs) = vectors::<L>(input);
    let (weights, last_weights) = vectors::<L>(weight);
    let (outputs, last_outputs) = vectors::<L>(output_gradient);
    let (mut squares, mut products) = (lanes.splat(0.0), lanes.splat(0.0));
    let mut take = |input: &[f32], weight: &[f32], output: &[f32]| {
        let x = lanes.load_up_to(input);
        let weighted = lanes.mul(lanes.load_up_to(weight), lanes.load_up_to(output));
        squares = lanes.fma(x, x, squares);
        products = lanes.fma(x, weighted, products);
    };
    for ((input, weight), output) in inputs.clone().zip(weights.clone()).zip(outputs.clone()) {
        take(input, weight, output);
    }
    take(last_inputs, last_weights, last_outputs);
    let length = input.len() as f32;
    let factor = 1.0 / (lanes.sum(squares) / length + epsilon).sqrt();
    let pull = -factor * factor * factor * (lanes.sum(products) / length);
    let (factor, pull) = (lanes.splat(factor), lanes.splat(pull));
    let give = |(input, weight, output): (&[f32], &[f32], &[f32]), gradient: &mut [f32]| {
        let weighted = lanes.mul(lanes.load_up_to(weight), lanes.load_up_to(output));
        let sum = lanes.fma(factor, weighted, lanes.load_up_to(gradient));
        lanes.store_up_to(gradient, lanes.fma(pull, lanes.load_up_to(input), sum));
    };
    let (gradients, last_gradients) = vectors_mut::<L>(gradient);
    for (((input, weight), output), gradient) in inputs.zip(weights).zip(outputs).zip(gradients) {
        give((input, weight, output), gradient);
    }
    give((last_inputs, last_weights, last_outputs), last_gradients);
}

/// From `activation(gate) * up` back: gate and up are replaced by their gradients. All are of one length.
#[inline(always)]
pub(crate) fn gate<L: Lanes>(
    lanes: L,
    activation: Activation,
    output_gradient: &[f32],
    (gate, up): (&mut [f32], &mut [f32]),
) {
    let (outputs, last_outputs) = vectors::<L>(output_gradient);
    let (gates, last_gates) = vectors_mut::<L>(gate);
    let (ups, last_ups) = vectors_mut::<L>(up);
    for ((output, gate), up) in outputs.zip(gates).zip(ups) {
        gate_vector(lanes, activation, output, (gate, up));
    }
    if !last_outputs.is_empty() {
        gate_vector(lanes, activation, last_outputs, (last_gates, last_ups));
    }
}

#[inline(always)]
fn gate_vector<L: Lanes>(
    lanes: L,
    activation: Activation,
    output_gradient: &[f32],
    (gate, up): (&mut [f32], &mut [f32]),
) {
    let output = lanes.load_up_to(output_gradient);
    let (x, factor) = (lanes.load_up_to(gate), lanes.load_up_to(up));
    let one = lanes.splat(1.0);
    // Both are `x * sigmoid(inner(x))`, whose slope is `s + x s (1 - s) inner'(x)`.
    let (inner, inner_slope) = match activation {
        Activation::Silu => (x, one),
        Activation::GeluTanh => {
            let square = lanes.mul(x, x);
            let twice = lanes.splat(2.0 * GELU_FACTOR);
            let cubic = lanes.fma(square, lanes.splat(GELU_CUBIC), one);
            let slope = lanes.fma(square, lanes.splat(3.0 * GELU_CUBIC), one);
            (
                lanes.mul(lanes.mul(x, cubic), twice),
                lanes.mul(slope, twice),
            )
        }
    };
    let share = sigmoid(lanes, inner);
    let active = lanes.mul(x, share);
    let rest = lanes.mul(lanes.mul(active, lanes.sub(one, share)), inner_slope);
    let slope = lanes.add(share, rest);
    lanes.store_up_to(gate, lanes.mul(output, lanes.mul(factor, slope)));
    lanes.store_up_to(up, lanes.mul(output, active));
}
