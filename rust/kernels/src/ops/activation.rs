//! Gated activations `y = f(gate) * up`, and the soft cap `cap * tanh(x / cap)`.

use crate::Activation;
use crate::simd::{Lanes, sigmoid, tanh, vectors, vectors_mut};

/// `sqrt(2 / pi)`, of GELU's tanh form.
pub(super) const GELU_FACTOR: f32 = 0.797_884_6;
/// The cubic term of GELU's tanh form.
pub(super) const GELU_CUBIC: f32 = 0.044_715;

/// Activates one row; the three slices are of one length.
#[inline(always)]
pub(crate) fn gate<L: Lanes>(
    lanes: L,
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    output: &mut [f32],
) {
    let (gates, last_gates) = vectors::<L>(gate);
    let (ups, last_ups) = vectors::<L>(up);
    let (targets, last_targets) = vectors_mut::<L>(output);
    for (values, targets) in gates.zip(ups).zip(targets) {
        gate_vector(lanes, activation, values, targets);
    }
    if !last_targets.is_empty() {
        gate_vector(lanes, activation, (last_gates, last_ups), last_targets);
    }
}

#[inline(always)]
fn gate_vector<L: Lanes>(
    lanes: L,
    activation: Activation,
    (gate, up): (&[f32], &[f32]),
    targets: &mut [f32],
) {
    let value = lanes.load_up_to(gate);
    let slope = match activation {
        Activation::Silu => sigmoid(lanes, value),
        // tanh(u) = 2 sigmoid(2u) - 1, so x/2 (1 + tanh(u)) is x sigmoid(2u).
        Activation::GeluTanh => {
            let square = lanes.mul(value, value);
            let inner = lanes.fma(square, lanes.splat(GELU_CUBIC), lanes.splat(1.0));
            let factor = lanes.splat(2.0 * GELU_FACTOR);
            sigmoid(lanes, lanes.mul(lanes.mul(value, inner), factor))
        }
    };
    let active = lanes.mul(value, slope);
    lanes.store_up_to(targets, lanes.mul(active, lanes.load_up_to(up)));
}

/// Caps every value softly.
#[inline(always)]
pub(crate) fn soft_cap<L: Lanes>(lanes: L, values: &mut [f32], cap: f32) {
    let (vectors, last) = vectors_mut::<L>(values);
    for values in vectors {
        cap_vector(lanes, values, cap);
    }
    if !last.is_empty() {
        cap_vector(lanes, last, cap);
    }
}

#[inline(always)]
fn cap_vector<L: Lanes>(lanes: L, values: &mut [f32], cap: f32) {
    let scaled = lanes.mul(lanes.load_up_to(values), lanes.splat(1.0 / cap));
    lanes.store_up_to(values, lanes.mul(tanh(lanes, scaled), lanes.splat(cap)));
}
