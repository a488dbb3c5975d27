//! Exponentials under the maximum: the shares of a row, stable under any offset, and sums of its blocks.

use crate::plain::{self, LEAST_EXPONENT, WEIGHT_BLOCK};
use crate::simd::{Lanes, exp, vectors, vectors_mut};

/// Sums of weights, block by block; see `Kernels::weight_sums`.
#[inline(always)]
pub(crate) fn weight_sums<L: Lanes>(
    lanes: L,
    values: &[f32],
    (maximum, inverse_temperature): (f32, f32),
    sums: &mut [f32],
) {
    for (block, sum) in values.chunks(WEIGHT_BLOCK).zip(sums) {
        let mut total = lanes.splat(0.0);
        let (whole, last) = vectors::<L>(block);
        for values in whole {
            total = lanes.add(
                total,
                weights_below(lanes, values, maximum, inverse_temperature),
            );
        }
        if !last.is_empty() {
            total = lanes.add(
                total,
                weights_below(lanes, last, maximum, inverse_temperature),
            );
        }
        *sum = lanes.sum(total);
    }
}

/// The weights of up to a vector of values.
#[inline(always)]
fn weights_below<L: Lanes>(
    lanes: L,
    values: &[f32],
    maximum: f32,
    inverse_temperature: f32,
) -> L::Vector {
    let distance = lanes.sub(lanes.load_up_to(values), lanes.splat(maximum));
    let exponent = lanes.mul(distance, lanes.splat(inverse_temperature));
    // Lanes beyond the block were loaded as 0.
    let exponent = lanes.mask_range(exponent, 0, values.len());
    let weight = exp(lanes, lanes.min(exponent, lanes.splat(0.0)));
    // Once more with the exponent itself, because NaN may have become 0 above.
    lanes.keep_from(exponent, lanes.splat(LEAST_EXPONENT), weight)
}

/// The largest of each block; see `Kernels::block_maxima`.
#[inline(always)]
pub(crate) fn block_maxima<L: Lanes>(lanes: L, values: &[f32], maxima: &mut [f32]) {
    for (block, maximum) in values.chunks(WEIGHT_BLOCK).zip(maxima) {
        *maximum = lanes.maximum(largest(lanes, block));
    }
}

/// The largest values lane by lane, NaN passed over: of two numbers the second is taken where one is NaN.
#[inline(always)]
fn largest<L: Lanes>(lanes: L, values: &[f32]) -> L::Vector {
    let (whole, last) = vectors::<L>(values);
    let mut held = lanes.splat(f32::NEG_INFINITY);
    for values in whole {
        held = lanes.max(lanes.load_up_to(values), held);
    }
    if last.is_empty() {
        held
    } else {
        lanes.max(load_or_nothing(lanes, last), held)
    }
}

/// Values whose weights are added in f32; the sums of such chunks are added in f64.
const CHUNK: usize = 256;

/// Softmax of one row: `e^(x - maximum) / sum`; `output` is as long as `input`. The other way, `e^(x - ln(sum(e^x)))`,
/// rounds the logarithm, which is as large as the offset, and with it every exponent.
#[inline(always)]
pub(crate) fn softmax<L: Lanes>(lanes: L, input: &[f32], output: &mut [f32]) {
    let highest = lanes.maximum(largest(lanes, input));
    if !highest.is_finite() || input.iter().any(|value| value.is_nan()) {
        return plain::softmax(input, output);
    }
    let total = weigh_all(lanes, input, highest, output);
    multiply(lanes, (1.0 / total) as f32, output);
}

/// Logarithms of the shares, and the shares; all of one length. See `Kernels::log_softmax`.
#[inline(always)]
pub(crate) fn log_softmax<L: Lanes>(lanes: L, input: &[f32], logs: &mut [f32], shares: &mut [f32]) {
    let highest = lanes.maximum(largest(lanes, input));
    if !highest.is_finite() || input.iter().any(|value| value.is_nan()) {
        return plain::log_softmax(input, logs, shares);
    }
    let total = weigh_all(lanes, input, highest, shares);
    multiply(lanes, (1.0 / total) as f32, shares);
    let (highest, log_total) = (lanes.splat(highest), lanes.splat(total.ln() as f32));
    // The maximum first: what it leaves is as large as the result.
    let log = |values: &[f32]| {
        let distance = lanes.sub(lanes.load_up_to(values), highest);
        lanes.sub(distance, log_total)
    };
    let (inputs, last_inputs) = vectors::<L>(input);
    let (targets, last_targets) = vectors_mut::<L>(logs);
    for (values, targets) in inputs.zip(targets) {
        lanes.store_up_to(targets, log(values));
    }
    lanes.store_up_to(last_targets, log(last_inputs));
}

/// Writes `e^(x - highest)` of each value; their sum.
#[inline(always)]
fn weigh_all<L: Lanes>(lanes: L, input: &[f32], highest: f32, output: &mut [f32]) -> f64 {
    let mut total = 0.0f64;
    for (input, output) in input.chunks(CHUNK).zip(output.chunks_mut(CHUNK)) {
        let (inputs, last_inputs) = vectors::<L>(input);
        let (targets, last_targets) = vectors_mut::<L>(output);
        let mut sum = lanes.splat(0.0);
        for (values, targets) in inputs.zip(targets) {
            sum = lanes.add(sum, weigh(lanes, values, highest, targets));
        }
        if !last_targets.is_empty() {
            sum = lanes.add(sum, weigh(lanes, last_inputs, highest, last_targets));
        }
        total += f64::from(lanes.sum(sum));
    }
    total
}

/// Each value times a number.
#[inline(always)]
fn multiply<L: Lanes>(lanes: L, factor: f32, values: &mut [f32]) {
    let factor = lanes.splat(factor);
    let (values, last) = vectors_mut::<L>(values);
    for values in values {
        lanes.store_up_to(values, lanes.mul(lanes.load_up_to(values), factor));
    }
    lanes.store_up_to(last, lanes.mul(lanes.load_up_to(last), factor));
}

/// The weights of up to a vector of values, which are written too.
#[inline(always)]
fn weigh<L: Lanes>(lanes: L, values: &[f32], highest: f32, targets: &mut [f32]) -> L::Vector {
    let distance = lanes.sub(load_or_nothing(lanes, values), lanes.splat(highest));
    let weight = exp(lanes, distance);
    lanes.store_up_to(targets, weight);
    weight
}

/// Up to a vector of values; lanes beyond them are -infinity, and weigh 0.
#[inline(always)]
fn load_or_nothing<L: Lanes>(lanes: L, values: &[f32]) -> L::Vector {
    lanes.mask_range(lanes.load_up_to(values), 0, values.len())
}
