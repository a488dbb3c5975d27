//! Exponentials under the maximum: the shares of a row, stable under any offset, and sums of its blocks.

use crate::plain::{self, LEAST_EXPONENT, WEIGHT_BLOCK};
use crate::simd::{Lanes, exp};

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
        for values in block.chunks(L::WIDTH) {
            let distance = lanes.sub(lanes.load_up_to(values), lanes.splat(maximum));
            let exponent = lanes.mul(distance, lanes.splat(inverse_temperature));
            // Lanes beyond the block were loaded as 0.
            let exponent = lanes.mask_range(exponent, 0, values.len());
            let weight = exp(lanes, lanes.min(exponent, lanes.splat(0.0)));
            // Once more with the exponent itself, because NaN may have become 0 above.
            let least = lanes.splat(LEAST_EXPONENT);
            total = lanes.add(total, lanes.keep_from(exponent, least, weight));
        }
        *sum = lanes.sum(total);
    }
}

/// Values whose weights are added in f32; the sums of such chunks are added in f64.
const CHUNK: usize = 256;

/// Softmax of one row: `e^(x - maximum) / sum`; `output` is as long as `input`. The other way, `e^(x - ln(sum(e^x)))`,
/// rounds the logarithm, which is as large as the offset, and with it every exponent.
#[inline(always)]
pub(crate) fn softmax<L: Lanes>(lanes: L, input: &[f32], output: &mut [f32]) {
    let mut maximum = lanes.splat(f32::NEG_INFINITY);
    for values in input.chunks(L::WIDTH) {
        maximum = lanes.max(maximum, load_or_nothing(lanes, values));
    }
    let highest = lanes.maximum(maximum);
    if !highest.is_finite() || input.iter().any(|value| value.is_nan()) {
        return plain::softmax(input, output);
    }
    let mut total = 0.0f64;
    for (input, output) in input.chunks(CHUNK).zip(output.chunks_mut(CHUNK)) {
        let mut sum = lanes.splat(0.0);
        for (values, targets) in input.chunks(L::WIDTH).zip(output.chunks_mut(L::WIDTH)) {
            let distance = lanes.sub(load_or_nothing(lanes, values), lanes.splat(highest));
            let weight = exp(lanes, distance);
            sum = lanes.add(sum, weight);
            lanes.store_up_to(targets, weight);
        }
        total += f64::from(lanes.sum(sum));
    }
    let share = lanes.splat((1.0 / total) as f32);
    for weights in output.chunks_mut(L::WIDTH) {
        lanes.store_up_to(weights, lanes.mul(lanes.load_up_to(weights), share));
    }
}

/// Up to a vector of values; lanes beyond them are -infinity, and weigh 0.
#[inline(always)]
fn load_or_nothing<L: Lanes>(lanes: L, values: &[f32]) -> L::Vector {
    lanes.mask_range(lanes.load_up_to(values), 0, values.len())
}
