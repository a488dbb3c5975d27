//! AVX2 and AVX-512: types that exist only where the machine has the instruction set.

use super::native_kernels;
use crate::matmul::{quantized_avx2, quantized_avx512, words_avx512};
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// AVX2 with FMA and F16C.
#[derive(Debug)]
pub(crate) struct Avx2Kernels(());

/// AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Debug)]
pub(crate) struct Avx512Kernels(());

impl Avx2Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        there.then_some(Self(()))
    }
}

impl Avx512Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let there = Avx2Kernels::new().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        there.then_some(Self(()))
    }
}

native_kernels!(
    Avx2Kernels,
    Avx2,
    avx2_entries,
    "avx2",
    "avx2,fma,f16c",
    quantized_avx2::multiply,
    None
);
native_kernels!(
    Avx512Kernels,
    Avx512,
    avx512_entries,
    "avx512",
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c",
    quantized_avx512::multiply,
    Some(words_avx512::multiply)
);
