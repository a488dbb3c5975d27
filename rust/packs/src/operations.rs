//! The operations of the forward pass as calls of kernels: parameters and planes as the ABI's page says.

use ruvllm_kernels::Activation;

use crate::abi::{Inputs, Plane, PlaneMut};
use crate::counters::Operation;
use crate::error::KernelError;
use crate::kernel::Kernel;

/// Floats that one call takes, if a row is not longer: the copies stay in a core's cache.
pub(crate) const FLOATS_AT_ONCE: usize = 16 << 10;

/// Bytes of the parameters of an operation.
pub(crate) fn params_bytes(operation: Operation) -> usize {
    match operation {
        Operation::RmsNorm => 20,
        Operation::Rope => 24,
        Operation::Swiglu => 8,
    }
}

/// RMSNorm of rows of the weight's width. `partial_sums` is how many the native kernel adds up in, so
/// that both add in one order.
pub(crate) fn rms_norm(
    kernel: &Kernel,
    (input, weight): (&[f32], &[f32]),
    (epsilon, partial_sums): (f32, u32),
    output: &mut [f32],
) -> Result<(), KernelError> {
    let rows = (input.len() / weight.len().max(1)) as u32;
    let weight_offset = 0.0f32;
    let params = words([
        rows,
        weight.len() as u32,
        epsilon.to_bits(),
        weight_offset.to_bits(),
        partial_sums,
    ]);
    let inputs = Inputs {
        a: Some(Plane::Floats(input)),
        b: &[Plane::Floats(weight)],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Floats(output))
}

/// Rotates heads of one position in place, in halves.
pub(crate) fn rope(
    kernel: &Kernel,
    (heads, head_dim): (&mut [f32], usize),
    cosines: &[f32],
    sines: &[f32],
) -> Result<(), KernelError> {
    let count = (heads.len() / head_dim.max(1)) as u32;
    let halves = 0;
    let rotary_dims = 2 * cosines.len() as u32;
    let params = words([1, 1, count, head_dim as u32, rotary_dims, halves]);
    let inputs = Inputs {
        a: None,
        b: &[Plane::Floats(cosines), Plane::Floats(sines)],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Floats(heads))
}

/// `output = activation(gate) * up`
pub(crate) fn swiglu(
    kernel: &Kernel,
    activation: Activation,
    (gate, up): (&[f32], &[f32]),
    output: &mut [f32],
) -> Result<(), KernelError> {
    let activation = match activation {
        Activation::Silu => 0,
        Activation::GeluTanh => 1,
    };
    let params = words([gate.len() as u32, activation]);
    let inputs = Inputs {
        a: Some(Plane::Floats(gate)),
        b: &[Plane::Floats(up)],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Floats(output))
}

fn words<const COUNT: usize>(words: [u32; COUNT]) -> [[u8; 4]; COUNT] {
    words.map(u32::to_le_bytes)
}
