//! The [`Kernels`](crate::Kernels) of each instruction set: check the lengths, enter the instruction
//! set once, call the shared algorithm.
//!
//! A value of these types exists only where the instruction set was found, and has the one that proves it in it: with
//! that an entry is called, and from there on what touches registers alone is safe.

#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64;
mod entries;
mod implementation;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use entries::{attention_entries, native_entries};
use implementation::native_kernels;

use crate::matmul::{OutputTile, TileRange, WordRows, quantized_portable};
use crate::simd::pairs::portable::PortablePairs;
use crate::simd::portable::PortableLanes;
use crate::weights::PackedMatrix;

/// A product of 16-bit weights in integers, where an instruction set has a fast one.
type MultiplyWords = unsafe fn(&PackedMatrix, &WordRows, &TileRange, &mut OutputTile<'_>);

/// Plain loops, vectorized by the compiler for the baseline of the target.
#[derive(Debug)]
pub(crate) struct PortableKernels {
    lanes: PortableLanes,
    pairs: PortablePairs,
}

impl PortableKernels {
    /// They run everywhere.
    pub(crate) fn new() -> Self {
        Self {
            lanes: PortableLanes,
            pairs: PortablePairs,
        }
    }
}

// The macro names the features of an entry; here they are ones that every machine of the target has.
#[cfg(target_arch = "x86_64")]
native_entries!(portable_entries, PortableLanes, "sse2");
#[cfg(target_arch = "x86_64")]
attention_entries!(portable_attention, PortablePairs, "sse2");
#[cfg(target_arch = "aarch64")]
native_entries!(portable_entries, PortableLanes, "neon");
#[cfg(target_arch = "aarch64")]
attention_entries!(portable_attention, PortablePairs, "neon");
native_kernels!(
    portable,
    PortableKernels,
    (portable_entries, portable_attention),
    "portable",
    quantized_portable::multiply,
    None
);
