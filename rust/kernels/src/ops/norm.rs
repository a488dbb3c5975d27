//! RMSNorm: `y = x / sqrt(mean(x^2) + epsilon) * weight`.

use crate::simd::Lanes;

/// Norms one row; the three slices are of one length.
#[inline(always)]
pub(crate) fn rms_norm<L: Lanes>(
    lanes: L,
    input: &[f32],
    weight: &[f32],
    epsilon: f32,
    output: &mut [f32],
) {
    let mut squares = lanes.splat(0.0);
    for values in input.chunks(L::WIDTH) {
        let values = lanes.load_up_to(values);
        squares = lanes.fma(values, values, squares);
    }
    let mean = lanes.sum(squares) / input.len() as f32;
    let factor = lanes.splat(1.0 / (mean + epsilon).sqrt());
    let inputs = input.chunks(L::WIDTH).zip(weight.chunks(L::WIDTH));
    for ((values, weights), targets) in inputs.zip(output.chunks_mut(L::WIDTH)) {
        let normed = lanes.mul(lanes.load_up_to(values), factor);
        lanes.store_up_to(targets, lanes.mul(normed, lanes.load_up_to(weights)));
    }
}

/// Adds one row to another of its length.
#[inline(always)]
pub(crate) fn add<L: Lanes>(lanes: L, input: &[f32], accumulator: &mut [f32]) {
    let targets = accumulator.chunks_mut(L::WIDTH);
    for (values, targets) in input.chunks(L::WIDTH).zip(targets) {
        let sum = lanes.add(lanes.load_up_to(targets), lanes.load_up_to(values));
        lanes.store_up_to(targets, sum);
    }
}
