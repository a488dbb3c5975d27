//! The instructions of x86-64 that products are made of.

use std::arch::asm;

use super::chain::{Chain, Operands};

/// Accumulators, and so chains: two products a cycle of five cycles each need ten.
const CHAINS_OF_ONE: u32 = 12;
/// As f32, 16-bit words and bytes alike neither zero nor denormal, so that the circuits work.
static OPERAND: u32 = 0x3f80_3f80;

/// Adds a function that runs rounds of twelve chains. `$load` fills registers 12 and up from
/// `[{operand}]`; in `$step`, `\n` is the number of the accumulator. `$zero` and `$leave` are as processors before AVX
/// write them, where it says so.
macro_rules! chain {
    ($name:ident, [$($load:literal),+], [$($step:literal),+]) => {
        chain!($name, "vpxor xmm\\n, xmm\\n, xmm\\n", "vzeroupper", [$($load),+], [$($step),+]);
    };
    ($name:ident, before AVX, [$($load:literal),+], [$($step:literal),+]) => {
        chain!($name, "pxor xmm\\n, xmm\\n", "", [$($load),+], [$($step),+]);
    };
    ($name:ident, $zero:literal, $leave:literal, [$($load:literal),+], [$($step:literal),+]) => {
        unsafe fn $name(rounds: u64) {
            // SAFETY: reads `OPERAND` and changes only the registers that it names; that the machine
            // has the instruction is what `Chain::run` asks for.
            unsafe {
                asm!(
                    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                    $zero,
                    ".endr",
                    $($load,)+
                    "2:",
                    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                    $($step,)+
                    ".endr",
                    "dec {rounds}",
                    "jnz 2b",
                    $leave,
                    operand = in(reg) &raw const OPERAND,
                    rounds = inout(reg) rounds => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                    out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nostack, readonly),
                );
            }
        }
    };
}

chain!(
    vpdpbusd_512,
    ["vpbroadcastd zmm12, [{operand}]"],
    ["vpdpbusd zmm\\n, zmm12, zmm12"]
);
chain!(
    vpdpwssd_512,
    ["vpbroadcastd zmm12, [{operand}]"],
    ["vpdpwssd zmm\\n, zmm12, zmm12"]
);
chain!(
    fma_512,
    ["vpbroadcastd zmm12, [{operand}]"],
    ["vfmadd231ps zmm\\n, zmm12, zmm12"]
);
chain!(
    maddubs_512,
    ["vpbroadcastd zmm12, [{operand}]"],
    [
        "vpmaddubsw zmm13, zmm12, zmm12",
        "vpaddw zmm\\n, zmm\\n, zmm13"
    ]
);
chain!(
    vpdpbusd_256,
    ["vpbroadcastd ymm12, [{operand}]"],
    ["{{vex}} vpdpbusd ymm\\n, ymm12, ymm12"]
);
chain!(
    vpdpwssd_256,
    ["vpbroadcastd ymm12, [{operand}]"],
    ["{{vex}} vpdpwssd ymm\\n, ymm12, ymm12"]
);
chain!(
    maddubs_256,
    ["vpbroadcastd ymm12, [{operand}]"],
    [
        "vpmaddubsw ymm13, ymm12, ymm12",
        "vpaddw ymm\\n, ymm\\n, ymm13"
    ]
);
chain!(
    madd_256,
    ["vpbroadcastd ymm12, [{operand}]"],
    [
        "vpmaddwd ymm13, ymm12, ymm12",
        "vpaddd ymm\\n, ymm\\n, ymm13"
    ]
);
chain!(
    fma_256,
    ["vpbroadcastd ymm12, [{operand}]"],
    ["vfmadd231ps ymm\\n, ymm12, ymm12"]
);

chain!(
    maddubs_128,
    before AVX,
    ["movd xmm12, dword ptr [{operand}]", "pshufd xmm12, xmm12, 0"],
    [
        "movdqa xmm13, xmm12",
        "pmaddubsw xmm13, xmm12",
        "paddw xmm\\n, xmm13"
    ]
);
chain!(
    multiply_add_128,
    before AVX,
    ["movd xmm12, dword ptr [{operand}]", "pshufd xmm12, xmm12, 0"],
    [
        "movaps xmm13, xmm12",
        "mulps xmm13, xmm12",
        "addps xmm\\n, xmm13"
    ]
);

fn has_sse42() -> bool {
    is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.2")
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

fn has_vnni() -> bool {
    has_avx512() && is_x86_feature_detected!("avx512vnni")
}

fn has_avx_vnni() -> bool {
    has_avx2() && is_x86_feature_detected!("avxvnni")
}

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Every product, the widest first. Sums of 16 bits are widened seldom enough not to count.
pub(super) static CHAINS: [Chain; 11] = [
    Chain {
        isas: &["avx512"],
        instruction: "vpdpbusd zmm",
        operands: Operands::Bytes,
        operations: CHAINS_OF_ONE * 64 * 2,
        is_here: has_vnni,
        run: vpdpbusd_512,
    },
    Chain {
        isas: &["avx512"],
        instruction: "vpdpwssd zmm",
        operands: Operands::Words,
        operations: CHAINS_OF_ONE * 32 * 2,
        is_here: has_vnni,
        run: vpdpwssd_512,
    },
    Chain {
        isas: &["avx512", "avx512-base"],
        instruction: "vfmadd231ps zmm",
        operands: Operands::Floats,
        operations: CHAINS_OF_ONE * 16 * 2,
        is_here: has_avx512,
        run: fma_512,
    },
    Chain {
        isas: &["avx512-base"],
        instruction: "vpmaddubsw, vpaddw zmm",
        operands: Operands::Bytes,
        operations: CHAINS_OF_ONE * 64 * 2,
        is_here: has_avx512,
        run: maddubs_512,
    },
    Chain {
        isas: &["avx2-vnni"],
        instruction: "vpdpbusd ymm",
        operands: Operands::Bytes,
        operations: CHAINS_OF_ONE * 32 * 2,
        is_here: has_avx_vnni,
        run: vpdpbusd_256,
    },
    Chain {
        isas: &["avx2-vnni"],
        instruction: "vpdpwssd ymm",
        operands: Operands::Words,
        operations: CHAINS_OF_ONE * 16 * 2,
        is_here: has_avx_vnni,
        run: vpdpwssd_256,
    },
    Chain {
        isas: &["avx2"],
        instruction: "vpmaddubsw, vpaddw ymm",
        operands: Operands::Bytes,
        operations: CHAINS_OF_ONE * 32 * 2,
        is_here: has_avx2,
        run: maddubs_256,
    },
    Chain {
        isas: &["avx2"],
        instruction: "vpmaddwd, vpaddd ymm",
        operands: Operands::Words,
        operations: CHAINS_OF_ONE * 16 * 2,
        is_here: has_avx2,
        run: madd_256,
    },
    Chain {
        isas: &["avx2", "avx2-vnni"],
        instruction: "vfmadd231ps ymm",
        operands: Operands::Floats,
        operations: CHAINS_OF_ONE * 8 * 2,
        is_here: has_avx2,
        run: fma_256,
    },
    Chain {
        isas: &["sse42"],
        instruction: "pmaddubsw, paddw xmm",
        operands: Operands::Bytes,
        operations: CHAINS_OF_ONE * 16 * 2,
        is_here: has_sse42,
        run: maddubs_128,
    },
    Chain {
        isas: &["sse42"],
        instruction: "mulps, addps xmm",
        operands: Operands::Floats,
        operations: CHAINS_OF_ONE * 4 * 2,
        is_here: has_sse42,
        run: multiply_add_128,
    },
];
