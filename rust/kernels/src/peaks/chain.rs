//! Chains of one instruction that do not wait for each other, and what they give.

use super::rate::best_rate;
use crate::threads::ThreadPool;

/// What an instruction multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// 8-bit integers, summed up in 32 bits.
    Bytes,
    /// 16-bit integers, summed up in 32 bits.
    Words,
    /// f32.
    Floats,
}

impl Operands {
    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "int8",
            Self::Words => "int16",
            Self::Floats => "f32",
        }
    }
}

/// The most that an instruction gives, all threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstructionPeak {
    /// The kernels that are made of it (see [`crate::Kernels::name`]).
    pub isas: &'static [&'static str],
    /// The instruction, or the instructions that make one such step together.
    pub instruction: &'static str,
    /// What it multiplies.
    pub operands: Operands,
    /// Multiplications and additions a second; a multiply-add is two.
    pub operations_per_second: f64,
}

/// Independent chains of one instruction, to run in a loop.
pub(super) struct Chain {
    pub(super) isas: &'static [&'static str],
    pub(super) instruction: &'static str,
    pub(super) operands: Operands,
    /// Of one round over all chains.
    pub(super) operations: u32,
    pub(super) is_here: fn() -> bool,
    /// # Safety
    ///
    /// `is_here` said so, and there is at least one round.
    pub(super) run: unsafe fn(rounds: u64),
}

impl Chain {
    pub(super) fn measure(&self, pool: &ThreadPool) -> InstructionPeak {
        /// Some ten microseconds, so that looking at the clock costs nothing.
        const ROUNDS: u64 = 4096;
        let rounds_per_second = best_rate(pool, &|_| {
            // SAFETY: `measure` is called only for what `is_here`.
            unsafe { (self.run)(ROUNDS) };
            ROUNDS
        });
        InstructionPeak {
            isas: self.isas,
            instruction: self.instruction,
            operands: self.operands,
            operations_per_second: rounds_per_second * f64::from(self.operations),
        }
    }
}
