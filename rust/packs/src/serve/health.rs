//! Whether a pack computes what it should, tried before it serves anyone: kernels of the forward pass beside
//! the native ones, all others beside [`crate::serve::formulas`].

use std::sync::Arc;

use ruvllm_kernels::{Activation, Kernels};

use crate::error::LoadError;
use crate::pack::Pack;
use crate::sandbox::abi::{Inputs, Plane, PlaneMut};
use crate::sandbox::kernel::Kernel;
use crate::serve::counters::{Counters, Operation};
use crate::serve::operations::params_bytes;
use crate::serve::pack_kernels::PackKernels;
use crate::serve::trials::{self, ABSOLUTE, RELATIVE, numbers};

/// Runs test vectors through every kernel of the pack.
pub(crate) fn check(pack: &Pack, native: &Arc<dyn Kernels>) -> Result<(), LoadError> {
    for kernel in pack.kernels() {
        let checked = match kernel.id() {
            "rmsnorm_f32" => beside_native(Operation::RmsNorm, rms_norms, kernel, (pack, native)),
            "rope_f32" => beside_native(Operation::Rope, rotations, kernel, (pack, native)),
            "swiglu_f32" => beside_native(Operation::Swiglu, gates, kernel, (pack, native)),
            _ => beside_reference(kernel),
        };
        checked.map_err(|reason| LoadError::HealthCheckFailed {
            kernel: kernel.id().to_owned(),
            reason,
        })?;
    }
    Ok(())
}

fn check_params(kernel: &Kernel, wanted: usize) -> Result<(), String> {
    match kernel.params_bytes() {
        is if is == wanted => Ok(()),
        is => Err(format!(
            "its parameters have {is} bytes, the ABI's {wanted}"
        )),
    }
}

fn beside_native(
    operation: Operation,
    cases: fn(&PackKernels, &dyn Kernels) -> Vec<Case>,
    kernel: &Kernel,
    (pack, native): (&Pack, &Arc<dyn Kernels>),
) -> Result<(), String> {
    check_params(kernel, params_bytes(operation))?;
    let counters = Arc::new(Counters::default());
    let packed = PackKernels::new(Arc::clone(native), pack, Arc::clone(&counters));
    let cases = cases(&packed, &**native);
    // Before the numbers: where the kernel failed, they are the native ones.
    if counters.of(operation).native > 0 {
        let fault = packed.last_fault();
        return Err(fault.unwrap_or_else(|| "it was not called".to_owned()));
    }
    for (name, found, expected) in cases {
        compare(&found, &expected).map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(())
}

fn beside_reference(kernel: &Kernel) -> Result<(), String> {
    let trials = trials::of(kernel.id());
    if trials.is_empty() {
        return Err("there is nothing to compare it with".to_owned());
    }
    for trial in trials {
        check_params(kernel, trial.params.len())?;
        let inputs = Inputs {
            a: Some(Plane::Bytes(&trial.a)),
            b: &[Plane::Bytes(&trial.b)],
            scratch_bytes: trial.scratch_bytes,
            params: &trial.params,
        };
        let mut output = trial.output.clone();
        let called = kernel.call(&inputs, &mut PlaneMut::Bytes(&mut output));
        let judged = called.map_err(|error| error.to_string());
        let judged = judged.and_then(|()| trial.judge(&output));
        judged.map_err(|reason| format!("{}: {reason}", trial.name))?;
    }
    Ok(())
}

/// What a case is called, what the pack computes, and what the native kernel does.
type Case = (String, Vec<f32>, Vec<f32>);

fn rms_norms(packed: &PackKernels, native: &dyn Kernels) -> Vec<Case> {
    let sizes = [(1, 64), (3, 576), (1, 4096), (2, 37)];
    let case = |(rows, columns): (usize, usize)| {
        let (input, weight) = (numbers(rows * columns, 1), numbers(columns, 2));
        let of = |kernels: &dyn Kernels| {
            let mut output = vec![0.0; input.len()];
            kernels.rms_norm(&input, &weight, 1e-5, &mut output);
            output
        };
        (format!("{rows} x {columns}"), of(packed), of(native))
    };
    sizes.map(case).into()
}

fn rotations(packed: &PackKernels, native: &dyn Kernels) -> Vec<Case> {
    let sizes = [(1, 64, 64), (9, 64, 64), (4, 128, 128), (3, 80, 32)];
    let case = |(heads, head_dim, rotary_dims): (usize, usize, usize)| {
        let input = numbers(heads * head_dim, 3);
        let angles = numbers(rotary_dims / 2, 4);
        let (sines, cosines): (Vec<_>, Vec<_>) = angles.iter().map(|angle| angle.sin_cos()).unzip();
        let of = |kernels: &dyn Kernels| {
            let mut output = input.clone();
            kernels.rotate(&mut output, head_dim, &cosines, &sines);
            output
        };
        (
            format!("{heads} heads of {head_dim}, {rotary_dims} turned"),
            of(packed),
            of(native),
        )
    };
    sizes.map(case).into()
}

fn gates(packed: &PackKernels, native: &dyn Kernels) -> Vec<Case> {
    let kinds = [Activation::Silu, Activation::GeluTanh];
    let sizes = [16, 96, 1536, 37];
    let cases = kinds
        .into_iter()
        .flat_map(|kind| sizes.map(|size| (kind, size)));
    cases
        .map(|(activation, size)| {
            let (gate, up) = (numbers(size, 5), numbers(size, 6));
            let of = |kernels: &dyn Kernels| {
                let mut output = vec![0.0; size];
                kernels.gate(activation, &gate, &up, &mut output);
                output
            };
            (format!("{activation:?} of {size}"), of(packed), of(native))
        })
        .collect()
}

fn compare(found: &[f32], expected: &[f32]) -> Result<(), String> {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = ABSOLUTE + RELATIVE * expected.abs();
        let is_close = (found - expected).abs() <= allowed;
        // Not where one is NaN.
        if !is_close {
            return Err(format!(
                "value {index} is {found}, the native kernel's {expected}"
            ));
        }
    }
    Ok(())
}
