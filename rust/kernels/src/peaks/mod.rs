//! What this machine can do at most: bytes from memory and operations a second, measured.
//!
//! A figure such as "70 % of the memory" needs the 100 % of the very machine, threads and hour, so
//! the bounds are measured like everything else. The instruction loops hold nothing but the products
//! that the matrix products are made of, in chains that do not wait for each other; the memory loop
//! reads, with the same fetching ahead. Nothing of the engine runs here. `ruvllm doctor --measure`
//! and the benchmarks call it; it takes about a second.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod memory;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::threads::ThreadPool;

/// How long all threads work for one figure, and how often; the best counts, for whatever else runs
/// on the machine can only take away.
const WINDOW: Duration = Duration::from_millis(20);
const WINDOWS: usize = 4;
/// How long a thread waits for the others before it measures alone.
const PATIENCE: Duration = Duration::from_millis(200);

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

/// The bounds of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Peaks {
    /// Threads that worked together.
    pub threads: usize,
    /// Bytes read from memory in a second, all threads together; 0 where there was no memory to read.
    pub memory_bytes_per_second: f64,
    /// The products of each instruction set that is here.
    pub instructions: Vec<InstructionPeak>,
}

impl Peaks {
    /// Measures with the threads of `pool`, which should have nothing else to do.
    pub fn measure(pool: &ThreadPool) -> Self {
        Self {
            threads: pool.threads(),
            memory_bytes_per_second: memory::bytes_per_second(pool),
            instructions: chains()
                .iter()
                .filter(|chain| (chain.is_here)())
                .map(|chain| chain.measure(pool))
                .collect(),
        }
    }
}

/// Independent chains of one instruction, to run in a loop.
struct Chain {
    isas: &'static [&'static str],
    instruction: &'static str,
    operands: Operands,
    /// Of one round over all chains.
    operations: u32,
    is_here: fn() -> bool,
    /// # Safety
    ///
    /// `is_here` said so, and there is at least one round.
    run: unsafe fn(rounds: u64),
}

impl Chain {
    fn measure(&self, pool: &ThreadPool) -> InstructionPeak {
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

/// Units a second that all threads do together: each calls `work` with its number until the window
/// is over and adds up what it says; the best of several windows.
fn best_rate(pool: &ThreadPool, work: &(dyn Fn(usize) -> u64 + Sync)) -> f64 {
    let windows = (0..WINDOWS).map(|_| {
        let arrived = AtomicUsize::new(0);
        let total = Mutex::new(0.0);
        pool.run(pool.threads(), &|thread| {
            arrived.fetch_add(1, Ordering::AcqRel);
            let waiting_since = Instant::now();
            // Also keeps a thread from taking a second part while another still sleeps.
            while arrived.load(Ordering::Acquire) < pool.threads()
                && waiting_since.elapsed() < PATIENCE
            {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            let mut units = 0;
            let elapsed = loop {
                units += work(thread);
                let elapsed = start.elapsed();
                if elapsed >= WINDOW {
                    break elapsed;
                }
            };
            let rate = units as f64 / elapsed.as_secs_f64();
            *total.lock().unwrap_or_else(PoisonError::into_inner) += rate;
        });
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    });
    windows.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_work_over_time_of_all_threads() {
        let pool = ThreadPool::new(2);
        let nap = Duration::from_millis(4);
        let rate = best_rate(&pool, &|_| {
            std::thread::sleep(nap);
            100
        });
        let most = 2.0 * 100.0 / nap.as_secs_f64();
        assert!(
            rate <= most && rate > most / 8.0,
            "{rate} of at most {most}"
        );
    }

    #[test]
    fn every_instruction_here_has_a_plausible_figure() {
        let peaks = Peaks::measure(&ThreadPool::new(1));
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
        let peaks = Peaks::measure(&ThreadPool::new(1));
        for isa in [
            "avx512",
            "avx512-base",
            "avx2-vnni",
            "avx2",
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
