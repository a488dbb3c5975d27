//! NEON, and what later processors add to it: types that exist only where the machine has it.
//!
//! The float operations are the same code for all; the products of bytes differ.

use std::arch::is_aarch64_feature_detected;

use super::native_kernels;
use crate::matmul::{quantized_mmla, quantized_neon};
use crate::simd::neon::Neon;

/// NEON alone.
#[derive(Debug)]
pub(crate) struct NeonKernels(());

/// NEON with dot products of bytes.
#[derive(Debug)]
pub(crate) struct NeonDotprodKernels(());

/// NEON with dot and matrix products of bytes.
#[derive(Debug)]
pub(crate) struct NeonI8mmKernels(());

impl NeonKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl NeonDotprodKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let there = NeonKernels::new().is_some() && is_aarch64_feature_detected!("dotprod");
        there.then_some(Self(()))
    }
}

impl NeonI8mmKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let there = NeonDotprodKernels::new().is_some() && is_aarch64_feature_detected!("i8mm");
        there.then_some(Self(()))
    }
}

native_kernels!(
    NeonKernels,
    Neon,
    neon_entries,
    "neon",
    "neon",
    quantized_neon::widening::multiply,
    None
);
native_kernels!(
    NeonDotprodKernels,
    Neon,
    neon_dotprod_entries,
    "neon-dotprod",
    "neon,dotprod",
    quantized_neon::dotprod::multiply,
    None
);
native_kernels!(
    NeonI8mmKernels,
    Neon,
    neon_i8mm_entries,
    "neon-i8mm",
    "neon,dotprod,i8mm",
    quantized_mmla::multiply,
    None
);
