//! SSE4.2, AVX2 and AVX-512: types that exist only where the machine has the instruction set.

use super::{attention_entries, native_entries, native_kernels};
use crate::matmul::{quantized_avx512, quantized_x86, words_avx2, words_avx512};
use crate::simd::pairs::avx2::{Avx2Pairs, AvxVnniPairs};
use crate::simd::pairs::avx512::{Avx512Pairs, Avx512VnniPairs};
use crate::simd::pairs::sse42::Sse42Pairs;
use crate::simd::{avx2::Avx2, avx512::Avx512, sse42::Sse42};

/// SSE4.2: processors before AVX2.
#[derive(Debug)]
pub(crate) struct Sse42Kernels {
    lanes: Sse42,
    pairs: Sse42Pairs,
}

/// AVX2 with FMA and F16C.
#[derive(Debug)]
pub(crate) struct Avx2Kernels {
    lanes: Avx2,
    pairs: Avx2Pairs,
}

/// AVX2 with FMA, F16C and AVX-VNNI: processors with efficiency cores.
#[derive(Debug)]
pub(crate) struct Avx2VnniKernels {
    lanes: Avx2,
    pairs: AvxVnniPairs,
}

/// AVX-512 F, BW, DQ and VL, without VNNI: the first generation.
#[derive(Debug)]
pub(crate) struct Avx512BaseKernels {
    lanes: Avx512,
    pairs: Avx512Pairs,
}

/// AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Debug)]
pub(crate) struct Avx512Kernels {
    lanes: Avx512,
    pairs: Avx512VnniPairs,
}

impl Sse42Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Sse42::detect()?;
        let pairs = Sse42Pairs::new(lanes);
        Some(Self { lanes, pairs })
    }
}

impl Avx2Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx2::detect()?;
        let pairs = Avx2Pairs::new(lanes);
        Some(Self { lanes, pairs })
    }
}

impl Avx2VnniKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx2::detect()?;
        let pairs = AvxVnniPairs::detect(lanes)?;
        Some(Self { lanes, pairs })
    }
}

impl Avx512BaseKernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx512::detect()?;
        let pairs = Avx512Pairs::new(lanes);
        Some(Self { lanes, pairs })
    }
}

impl Avx512Kernels {
    /// Where the machine has the instruction set.
    pub(crate) fn new() -> Option<Self> {
        let lanes = Avx512::detect()?;
        let pairs = Avx512VnniPairs::detect(lanes)?;
        Some(Self { lanes, pairs })
    }
}

native_entries!(sse42_entries, Sse42, "sse4.2");
native_entries!(avx2_entries, Avx2, "avx2,fma,f16c");
native_entries!(
    avx512_entries,
    Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);

attention_entries!(sse42_attention, Sse42Pairs, "sse4.2");
attention_entries!(avx2_attention, Avx2Pairs, "avx2,fma,f16c");
attention_entries!(avx2_vnni_attention, AvxVnniPairs, "avxvnni,avx2,fma,f16c");
attention_entries!(
    avx512_base_attention,
    Avx512Pairs,
    "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);
attention_entries!(
    avx512_attention,
    Avx512VnniPairs,
    "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"
);

native_kernels!(
    sse42,
    Sse42Kernels,
    (sse42_entries, sse42_attention),
    "sse42",
    quantized_x86::multiply_sse42,
    None
);
native_kernels!(
    avx2,
    Avx2Kernels,
    (avx2_entries, avx2_attention),
    "avx2",
    quantized_x86::multiply,
    Some(words_avx2::multiply)
);
native_kernels!(
    avx2_vnni,
    Avx2VnniKernels,
    (avx2_entries, avx2_vnni_attention),
    "avx2-vnni",
    quantized_x86::multiply_vnni,
    Some(words_avx2::multiply_vnni)
);
native_kernels!(
    avx512_base,
    Avx512BaseKernels,
    (avx512_entries, avx512_base_attention),
    "avx512-base",
    quantized_avx512::multiply_base,
    None
);
native_kernels!(
    avx512,
    Avx512Kernels,
    (avx512_entries, avx512_attention),
    "avx512",
    quantized_avx512::multiply,
    Some(words_avx512::multiply)
);
