//! AVX2 and AVX-512: types that exist only where the machine has the instruction set.

use super::{native_entries, native_kernels};
use crate::matmul::{quantized_avx2, quantized_avx512, words_avx2, words_avx512};
use crate::simd::{avx2::Avx2, avx512::Avx512};

/// AVX2 with FMA and F16C.
#[derive(Debug)]
pub(crate) struct Avx2Kernels {
    lanes: Avx2,
}

/// AVX2 with FMA, F16C and AVX-VNNI: processors with efficiency cores.
#[derive(Debug)]
pub(crate) struct Avx2VnniKernels {
    lanes: Avx2,
}

/// AVX-512 F, BW, DQ and VL, without VNNI: the first generation.
#[derive(Debug)]
pub(crate) struct Avx512BaseKernels {
    lanes: Avx512,
}

/// AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Debug)]
pub(crate) struct Avx512Kernels {
    lanes: Avx512,
}

impl Avx2Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        Avx2::detect().map(|lanes| Self { lanes })
    }
}

impl Avx2VnniKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx2::detect()?;
        is_x86_feature_detected!("avxvnni").then_some(Self { lanes })
    }
}

impl Avx512BaseKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        Avx512::detect().map(|lanes| Self { lanes })
    }
}

impl Avx512Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx512::detect()?;
        is_x86_feature_detected!("avx512vnni").then_some(Self { lanes })
    }
}

native_entries!(avx2_entries, Avx2, "avx2,fma,f16c");
native_entries!(
    avx512_entries,
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);

native_kernels!(
    avx2,
    Avx2Kernels,
    avx2_entries,
    "avx2",
    quantized_avx2::multiply,
    Some(words_avx2::multiply)
);
native_kernels!(
    avx2_vnni,
    Avx2VnniKernels,
    avx2_entries,
    "avx2-vnni",
    quantized_avx2::multiply_vnni,
    Some(words_avx2::multiply_vnni)
);
native_kernels!(
    avx512_base,
    Avx512BaseKernels,
    avx512_entries,
    "avx512-base",
    quantized_avx512::multiply_base,
    None
);
native_kernels!(
    avx512,
    Avx512Kernels,
    avx512_entries,
    "avx512",
    quantized_avx512::multiply,
    Some(words_avx512::multiply)
);
