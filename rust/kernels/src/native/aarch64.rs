//! NEON, and what later processors add to it: types that exist only where the machine has it.
//!
//! The float operations are the same code for all; the products of bytes differ.

use std::arch::is_aarch64_feature_detected;

use super::{attention_entries, native_entries, native_kernels};
use crate::matmul::{quantized_mmla, quantized_neon};
use crate::simd::neon::Neon;
use crate::simd::pairs::neon::NeonPairs;

/// NEON alone.
#[derive(Debug)]
pub(crate) struct NeonKernels {
    lanes: Neon,
    pairs: NeonPairs,
}

/// NEON with dot products of bytes.
#[derive(Debug)]
pub(crate) struct NeonDotprodKernels {
    lanes: Neon,
    pairs: NeonPairs,
}

/// NEON with dot and matrix products of bytes.
#[derive(Debug)]
pub(crate) struct NeonI8mmKernels {
    lanes: Neon,
    pairs: NeonPairs,
}

impl NeonKernels {
    /// Every machine of the target has the instruction set.
    pub(crate) fn new() -> Self {
        let lanes = Neon::new();
        let pairs = NeonPairs::new(lanes);
        Self { lanes, pairs }
    }
}

impl NeonDotprodKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let NeonKernels { lanes, pairs } = NeonKernels::new();
        is_aarch64_feature_detected!("dotprod").then_some(Self { lanes, pairs })
    }
}

impl NeonI8mmKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let NeonDotprodKernels { lanes, pairs } = NeonDotprodKernels::new()?;
        is_aarch64_feature_detected!("i8mm").then_some(Self { lanes, pairs })
    }
}

native_entries!(neon_entries, Neon, "neon");
attention_entries!(neon_attention, NeonPairs, "neon");

native_kernels!(
    neon,
    NeonKernels,
    (neon_entries, neon_attention),
    "neon",
    quantized_neon::widening::multiply,
    None
);
native_kernels!(
    neon_dotprod,
    NeonDotprodKernels,
    (neon_entries, neon_attention),
    "neon-dotprod",
    quantized_neon::dotprod::multiply,
    None
);
native_kernels!(
    neon_i8mm,
    NeonI8mmKernels,
    (neon_entries, neon_attention),
    "neon-i8mm",
    quantized_mmla::multiply,
    None
);
