//! Gated activations `y = f(gate) * up`, and the soft cap `cap * tanh(x / cap)`.

use crate::Activation;
use crate::simd::{Lanes, sigmoid, tanh};

/// `sqrt(2 / pi)`, of GELU's tanh form.
const GELU_FACTOR: f32 = 0.797_884_6;
/// The cubic term of GELU's tanh form.
const GELU_CUBIC: f32 = 0.044_715;

/// Activates one row.
///
/// # Safety
///
/// Needs the instruction set of `L`; the three slices are of one length.
#[inline(always)]
pub(crate) unsafe fn gate<L: Lanes>(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    output: &mut [f32],
) {
    let length = gate.len();
    // SAFETY: partial loads and stores keep to the slices.
    unsafe {
        for begin in (0..length).step_by(L::WIDTH) {
            let count = length - begin;
            let value = L::load_partial(gate.as_ptr().add(begin), count);
            let slope = match activation {
                Activation::Silu => sigmoid::<L>(value),
                // tanh(u) = 2 sigmoid(2u) - 1, so x/2 (1 + tanh(u)) is x sigmoid(2u).
                Activation::GeluTanh => {
                    let square = L::mul(value, value);
                    let inner = L::fma(square, L::splat(GELU_CUBIC), L::splat(1.0));
                    sigmoid::<L>(L::mul(L::mul(value, inner), L::splat(2.0 * GELU_FACTOR)))
                }
            };
            let up = L::load_partial(up.as_ptr().add(begin), count);
            L::store_partial(
                output.as_mut_ptr().add(begin),
                L::mul(L::mul(value, slope), up),
                count,
            );
        }
    }
}

/// Caps every value softly.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn soft_cap<L: Lanes>(values: &mut [f32], cap: f32) {
    let length = values.len();
    // SAFETY: partial loads and stores keep to the slice.
    unsafe {
        for begin in (0..length).step_by(L::WIDTH) {
            let count = length - begin;
            let target = values.as_mut_ptr().add(begin);
            let scaled = L::mul(L::load_partial(target, count), L::splat(1.0 / cap));
            L::store_partial(target, L::mul(tanh::<L>(scaled), L::splat(cap)), count);
        }
    }
}
