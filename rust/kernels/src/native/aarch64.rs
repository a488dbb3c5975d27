//! NEON, and what later processors add to it: types that exist only where the machine has it.
//!
//! The float operations are the same code for all; the products of bytes differ.

use std::arch::is_aarch64_feature_detected;

use super::{native_entries, native_kernels};
use crate::matmul::{quantized_mmla, quantized_neon};
use crate::simd::neon::Neon;

/// NEON alone.
#[derive(Debug)]
pub(crate) struct NeonKernels {
    lanes: Neon,
}

/// NEON with dot products of bytes.
#[derive(Debug)]
pub(crate) struct NeonDotprodKernels {
    lanes: Neon,
}

/// NEON with dot and matrix products of bytes.
#[derive(Debug)]
pub(crate) struct NeonI8mmKernels {
    lanes: Neon,
}

impl NeonKernels {
    /// Every machine of the target has the instruction set.
    pub(crate) fn new() -> Self {
        Self { lanes: Neon::new() }
    }
}

impl NeonDotprodKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Neon::new();
        is_aarch64_feature_detected!("dotprod").then_some(Self { lanes })
    }
}

impl NeonI8mmKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let NeonDotprodKernels { lanes } = NeonDotprodKernels::new()?;
        is_aarch64_feature_detected!("i8mm").then_some(Self { lanes })
    }
}

native_entries!(neon_entries, Neon, "neon");

native_kernels!(
    neon,
    NeonKernels,
    neon_entries,
    "neon",
    quantized_neon::widening::multiply,
    None
);
native_kernels!(
    neon_dotprod,
    NeonDotprodKernels,
    neon_entries,
    "neon-dotprod",
    quantized_neon::dotprod::multiply,
    None
);
native_kernels!(
    neon_i8mm,
    NeonI8mmKernels,
    neon_entries,
    "neon-i8mm",
    quantized_mmla::multiply,
    None
);
