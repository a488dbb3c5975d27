//! The instructions of 64-bit ARM that products are made of.

use std::arch::{asm, is_aarch64_feature_detected};

use super::chain::{Chain, Operands};

/// Accumulators, and so chains: four products a cycle of four cycles each need sixteen.
const CHAINS_OF_ONE: u32 = 20;
/// As f32 and as bytes neither zero nor denormal, so that the circuits work.
const OPERAND: u32 = 0x3f80_3f80;

/// Adds a function that runs rounds of twenty chains; in `$step`, `\n` is the accumulator's number.
macro_rules! chain {
    ($name:ident, $features:literal, $step:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(rounds: u64) {
            // SAFETY: changes only the registers that it names.
            unsafe {
                asm!(
                    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19",
                    "movi v\\n\\().4s, #0",
                    ".endr",
                    "dup v20.4s, {operand:w}",
                    "2:",
                    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19",
                    $step,
                    ".endr",
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    operand = in(reg) OPERAND,
                    rounds = inout(reg) rounds => _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
                    out("v6") _, out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _,
                    out("v12") _, out("v13") _, out("v14") _, out("v15") _, out("v16") _,
                    out("v17") _, out("v18") _, out("v19") _, out("v20") _,
                    options(nostack, nomem),
                );
            }
        }
    };
}

chain!(smmla, "neon,i8mm", "smmla v\\n\\().4s, v20.16b, v20.16b");
chain!(sdot, "neon,dotprod", "sdot v\\n\\().4s, v20.16b, v20.16b");
chain!(smlal, "neon", "smlal v\\n\\().8h, v20.8b, v20.8b");
chain!(fmla, "neon", "fmla v\\n\\().4s, v20.4s, v20.4s");

fn has_i8mm() -> bool {
    has_dotprod() && is_aarch64_feature_detected!("i8mm")
}

fn has_dotprod() -> bool {
    has_neon() && is_aarch64_feature_detected!("dotprod")
}

fn has_neon() -> bool {
    is_aarch64_feature_detected!("neon")
}

const fn chain(
    isas: &'static [&'static str],
    instruction: &'static str,
    (operands, products): (Operands, u32),
    is_here: fn() -> bool,
    run: unsafe fn(u64),
) -> Chain {
    Chain {
        isas,
        instruction,
        operands,
        operations: CHAINS_OF_ONE * products * 2,
        is_here,
        run,
    }
}

const ALL: &[&str] = &["neon-i8mm", "neon-dotprod", "neon"];

/// Every product, the widest first.
pub(super) static CHAINS: [Chain; 4] = [
    chain(
        &["neon-i8mm"],
        "smmla",
        (Operands::Bytes, 32),
        has_i8mm,
        smmla,
    ),
    chain(
        &["neon-dotprod"],
        "sdot",
        (Operands::Bytes, 16),
        has_dotprod,
        sdot,
    ),
    chain(&["neon"], "smlal", (Operands::Bytes, 8), has_neon, smlal),
    chain(ALL, "fmla", (Operands::Floats, 4), has_neon, fmla),
];
