//! What this machine can do at most: bytes from memory and operations a second, measured.
//!
//! A figure such as "70 % of the memory" needs the 100 % of the very machine, threads and hour, so
//! the bounds are measured like everything else. The instruction loops hold nothing but the products
//! that the matrix products are made of, in chains that do not wait for each other; the memory loop
//! reads, with the same fetching ahead. Nothing of the engine runs here. `ruvllm doctor --measure`
//! and the benchmarks call it; it takes about a second.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod chain;
mod memory;
mod rate;
#[cfg(target_arch = "x86_64")]
mod x86;

use chain::Chain;
pub use chain::{InstructionPeak, Operands};

use crate::threads::ThreadPool;

/// The bounds of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    /// Threads that worked together.
    pub threads: usize,
    /// Bytes read from memory in a second, all threads together; 0 where there was too little to read.
    pub memory_bytes_per_second: f64,
    /// The products of each instruction set that is here.
    pub instructions: Vec<InstructionPeak>,
}

impl Peaks {
    /// Measures with the threads of `pool`, which should have nothing else to do, where so many bytes are free.
    pub fn measure(pool: &ThreadPool, free_bytes: Option<u64>) -> Self {
        Self {
            threads: pool.threads(),
            memory_bytes_per_second: memory::bytes_per_second(pool, free_bytes),
            instructions: chains()
                .iter()
                .filter(|chain| (chain.is_here)())
                .map(|chain| chain.measure(pool))
                .collect(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn chains() -> &'static [Chain] {
    &x86::CHAINS
}

#[cfg(target_arch = "aarch64")]
fn chains() -> &'static [Chain] {
    &aarch64::CHAINS
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn chains() -> &'static [Chain] {
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_here_has_a_plausible_figure() {
        let peaks = Peaks::measure(&ThreadPool::new(1), None);
        assert_eq!(peaks.threads, 1);
        let bytes = peaks.memory_bytes_per_second;
        assert!((1e6..2e12).contains(&bytes), "{bytes} bytes a second");
        for peak in &peaks.instructions {
            // From an emulator to 10 GHz with four times 128 a cycle.
            assert!(
                (1e6..6e12).contains(&peak.operations_per_second),
                "{peak:?}"
            );
        }
    }

    #[test]
    fn the_kernels_by_hand_have_theirs() {
        let peaks = Peaks::measure(&ThreadPool::new(1), None);
        for isa in [
            "avx512",
            "avx512-base",
            "avx2-vnni",
            "avx2",
            "sse42",
            "neon-i8mm",
            "neon-dotprod",
            "neon",
        ] {
            let is_here = crate::named(isa).is_ok();
            let has = |operands| {
                let mut peaks = peaks.instructions.iter();
                peaks.any(|peak| peak.isas.contains(&isa) && peak.operands == operands)
            };
            assert_eq!(has(Operands::Bytes), is_here, "{isa}");
            // Float instructions are shared with sets that may not be here.
            assert!(has(Operands::Floats) || !is_here, "{isa}");
        }
    }
}
