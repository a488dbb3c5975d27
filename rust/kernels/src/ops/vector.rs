//! Two operations on whole vectors: the dot product, and a multiple of one added to another.

use crate::simd::{Lanes, vectors, vectors_mut};

/// Vectors of a dot product that are added up apart from one another.
const CHAINS: usize = 4;

/// The sum of the products of two vectors of one length.
#[inline(always)]
pub(crate) fn dot<L: Lanes>(lanes: L, first: &[f32], second: &[f32]) -> f32 {
    let whole = first.len() / (CHAINS * L::WIDTH) * (CHAINS * L::WIDTH);
    let (first, first_rest) = first.split_at(whole);
    let (second, second_rest) = second.split_at(whole);
    let mut sums = [lanes.splat(0.0); CHAINS];
    let groups = first
        .chunks_exact(CHAINS * L::WIDTH)
        .zip(second.chunks_exact(CHAINS * L::WIDTH));
    for (a, b) in groups {
        let pairs = a.chunks_exact(L::WIDTH).zip(b.chunks_exact(L::WIDTH));
        for (sum, (a, b)) in sums.iter_mut().zip(pairs) {
            *sum = lanes.fma(lanes.load_up_to(a), lanes.load_up_to(b), *sum);
        }
    }
    let rest = first_rest
        .chunks(L::WIDTH)
        .zip(second_rest.chunks(L::WIDTH));
    for (sum, (a, b)) in sums.iter_mut().zip(rest) {
        *sum = lanes.fma(lanes.load_up_to(a), lanes.load_up_to(b), *sum);
    }
    let [first, second, third, fourth] = sums;
    lanes.sum(lanes.add(lanes.add(first, second), lanes.add(third, fourth)))
}

/// `accumulator += factor * input`, of one length.
#[inline(always)]
pub(crate) fn add_scaled<L: Lanes>(lanes: L, factor: f32, input: &[f32], accumulator: &mut [f32]) {
    let factor = lanes.splat(factor);
    let (inputs, last_inputs) = vectors::<L>(input);
    let (targets, last_targets) = vectors_mut::<L>(accumulator);
    for (values, targets) in inputs.zip(targets) {
        add_vector(lanes, factor, values, targets);
    }
    add_vector(lanes, factor, last_inputs, last_targets);
}

#[inline(always)]
fn add_vector<L: Lanes>(lanes: L, factor: L::Vector, values: &[f32], targets: &mut [f32]) {
    let sum = lanes.fma(factor, lanes.load_up_to(values), lanes.load_up_to(targets));
    lanes.store_up_to(targets, sum);
}
