//! The operations as calls of kernels: parameters and planes as the ABI's page says.

use std::ops::Range;

use ruvllm_kernels::{
    Activation, GROUP_VALUES, GroupAxis, GroupBits, KvGroups, LoraAdapter, LoraMatrices,
};

use crate::error::KernelError;
use crate::sandbox::abi::{Inputs, Plane, PlaneMut};
use crate::sandbox::kernel::Kernel;
use crate::serve::attempts::Place;
use crate::serve::counters::Operation;

/// Floats that one call takes, if a row is not longer: the copies stay in a core's cache.
pub(crate) const FLOATS_AT_ONCE: usize = 16 << 10;

/// Bytes of the parameters of an operation.
pub(crate) fn params_bytes(operation: Operation) -> usize {
    match operation {
        Operation::RmsNorm | Operation::LoraApply => 20,
        Operation::Rope => 24,
        Operation::Swiglu => 8,
        Operation::KvPack | Operation::KvUnpack => 16,
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

/// The kernel for adapters of this type.
pub(crate) fn lora_place(adapter: &LoraAdapter<'_>) -> Place {
    Place {
        operation: Operation::LoraApply,
        format: match adapter.matrices {
            LoraMatrices::F32 { .. } => 0,
            LoraMatrices::F16 { .. } => 1,
        },
    }
}

/// Rows that one call takes: copying them takes as long as copying the adapter, or less where that is small.
pub(crate) fn lora_rows_at_once(adapter: &LoraAdapter<'_>) -> usize {
    let width = adapter.inputs() + adapter.outputs();
    (FLOATS_AT_ONCE / width.max(1)).max(adapter.rank).max(1)
}

/// `output += scale * (input A^T) B^T`, rows one behind the other.
pub(crate) fn lora_delta(
    kernel: &Kernel,
    adapter: &LoraAdapter<'_>,
    input: &[f32],
    output: &mut [f32],
) -> Result<(), KernelError> {
    let (inputs, outputs, rank) = (adapter.inputs(), adapter.outputs(), adapter.rank);
    let rows = input.len() / inputs;
    let params = words([
        rows as u32,
        inputs as u32,
        rank as u32,
        outputs as u32,
        adapter.scale.to_bits(),
    ]);
    let b = match adapter.matrices {
        LoraMatrices::F32 { a, b } => [Plane::Floats(a), Plane::Floats(b)],
        LoraMatrices::F16 { a, b } => [Plane::Halves(a), Plane::Halves(b)],
    };
    let inputs = Inputs {
        a: Some(Plane::Floats(input)),
        b: &b,
        scratch_bytes: 16 * rank.div_ceil(4),
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Floats(output))
}

/// The kernel for groups of so many bits.
pub(crate) fn kv_place(operation: Operation, bits: GroupBits) -> Place {
    let format = match bits {
        GroupBits::Four => 0,
        GroupBits::Eight => 1,
    };
    Place { operation, format }
}

/// What one call takes of keys or values.
pub(crate) struct KvPart {
    pub(crate) shape: KvGroups,
    pub(crate) values: Range<usize>,
    pub(crate) bytes: Range<usize>,
}

/// Runs of tokens that are whole groups, of about [`FLOATS_AT_ONCE`] values.
pub(crate) fn kv_parts(shape: KvGroups) -> impl Iterator<Item = KvPart> {
    let tokens = (FLOATS_AT_ONCE / shape.channels.max(1)).max(1);
    let tokens = match shape.axis {
        GroupAxis::Channels => tokens,
        GroupAxis::Tokens => tokens.next_multiple_of(GROUP_VALUES),
    };
    (0..shape.tokens).step_by(tokens).map(move |first| {
        let of = |tokens| KvGroups { tokens, ..shape };
        let (before, shape) = (of(first), of(tokens.min(shape.tokens - first)));
        KvPart {
            shape,
            values: before.values()..before.values() + shape.values(),
            bytes: before.bytes()..before.bytes() + shape.bytes(),
        }
    })
}

fn kv_params(shape: KvGroups) -> [[u8; 4]; 4] {
    let axis = match shape.axis {
        GroupAxis::Channels => 0,
        GroupAxis::Tokens => 1,
    };
    words([
        shape.tokens as u32,
        shape.channels as u32,
        axis,
        GROUP_VALUES as u32,
    ])
}

/// Rows as groups.
pub(crate) fn group_kv(
    kernel: &Kernel,
    shape: KvGroups,
    input: &[f32],
    groups: &mut [u8],
) -> Result<(), KernelError> {
    let params = kv_params(shape);
    let inputs = Inputs {
        a: Some(Plane::Floats(input)),
        b: &[],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Bytes(groups))
}

/// Groups as rows.
pub(crate) fn ungroup_kv(
    kernel: &Kernel,
    shape: KvGroups,
    groups: &[u8],
    output: &mut [f32],
) -> Result<(), KernelError> {
    let params = kv_params(shape);
    let inputs = Inputs {
        a: Some(Plane::Bytes(groups)),
        b: &[],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    kernel.call(&inputs, &mut PlaneMut::Floats(output))
}

fn words<const COUNT: usize>(words: [u32; COUNT]) -> [[u8; 4]; COUNT] {
    words.map(u32::to_le_bytes)
}
