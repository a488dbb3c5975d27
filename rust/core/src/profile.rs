//! Where the time of a step goes, by operation.
//!
//! At each moment exactly one operation is under way, and the time is its own: what is timed inside
//! another interrupts that one. So the times add up to the whole, and what nobody names is
//! [`Operation::Other`]. Only the engine's thread times; a part that all threads share counts as
//! long as that thread waits for it. Without a profile, [`timed`] is one branch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ruvllm_kernels::Operands;

use crate::clock::Clock;

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Rows of the embedding table.
    Embed,
    /// Norms that stand alone.
    Norm,
    /// Rows to the precision in which they meet weights, normed on the way where they must be.
    Quantize,
    /// The product that gives queries, keys and values.
    QueryKeyValue,
    /// Norms of heads, and their rotation by position; its tables too.
    Rope,
    /// Keys and values into their blocks.
    Store,
    /// Queries over blocks.
    Attention,
    /// The product behind the attention, added to the residual.
    AttentionOutput,
    /// The product that gives gate and up, activated and multiplied at its end.
    GateUp,
    /// The product behind those, added to the residual.
    Down,
    /// The product that gives logits.
    Head,
    /// What happens to logits.
    Sampling,
    /// Guesses of next tokens, and what is learned of them.
    Draft,
    /// All the rest.
    Other,
}

impl Operation {
    /// In the order of a step.
    pub const ALL: [Self; 14] = [
        Self::Embed,
        Self::Norm,
        Self::Quantize,
        Self::QueryKeyValue,
        Self::Rope,
        Self::Store,
        Self::Attention,
        Self::AttentionOutput,
        Self::GateUp,
        Self::Down,
        Self::Head,
        Self::Sampling,
        Self::Draft,
        Self::Other,
    ];

    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Norm => "norm",
            Self::Quantize => "norm, quantize",
            Self::QueryKeyValue => "matmul q, k, v",
            Self::Rope => "rope",
            Self::Store => "kv store",
            Self::Attention => "attention",
            Self::AttentionOutput => "matmul attention output",
            Self::GateUp => "matmul gate, up; activation",
            Self::Down => "matmul down",
            Self::Head => "matmul head",
            Self::Sampling => "sampling",
            Self::Draft => "drafts",
            Self::Other => "other",
        }
    }
}

/// What an operation took, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationTime {
    /// Which.
    pub operation: Operation,
    /// How often it began.
    pub calls: u64,
    /// Its time, without what was timed inside it.
    pub nanoseconds: u64,
    /// Multiplications and additions of its products, by what was multiplied.
    pub operations: [(Operands, u64); 3],
    /// Bytes of weights that its products read, as they are packed.
    pub weight_bytes: u64,
}

/// Everything that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileReport {
    /// Steps that computed something.
    pub steps: u64,
    /// Tokens computed in them.
    pub tokens: u64,
    /// Operations that occurred, in the order of a step.
    pub times: Vec<OperationTime>,
}

/// A profile that is being recorded.
#[derive(Debug)]
pub struct Profile {
    clock: Arc<dyn Clock>,
    /// When the operation that is under way last came to its turn.
    since: AtomicU64,
    /// Its place among the counters.
    current: AtomicUsize,
    counters: [Counters; Operation::ALL.len()],
    steps: AtomicU64,
    tokens: AtomicU64,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    nanoseconds: AtomicU64,
    operations: [AtomicU64; KINDS.len()],
    weight_bytes: AtomicU64,
}

const KINDS: [Operands; 3] = [Operands::Bytes, Operands::Words, Operands::Floats];

impl Profile {
    /// An empty one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            since: AtomicU64::new(clock.nanoseconds()),
            clock,
            current: AtomicUsize::new(Operation::Other as usize),
            counters: Default::default(),
            steps: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }
    }

    /// Begins a step: the time since the last one is nobody's.
    pub(crate) fn begin_step(&self) {
        self.since
            .store(self.clock.nanoseconds(), Ordering::Relaxed);
        self.current
            .store(Operation::Other as usize, Ordering::Relaxed);
        self.counters[Operation::Other as usize]
            .calls
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a step of so many tokens; one that had none is only time.
    pub(crate) fn end_step(&self, tokens: usize) {
        self.switch_to(Operation::Other as usize);
        self.steps.fetch_add((tokens > 0).into(), Ordering::Relaxed);
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Counts a product for the operation that is under way.
    pub(crate) fn count_product(&self, operands: Operands, operations: u64, weight_bytes: u64) {
        let counters = &self.counters[self.current.load(Ordering::Relaxed)];
        if let Some(kind) = KINDS.iter().position(|kind| *kind == operands) {
            counters.operations[kind].fetch_add(operations, Ordering::Relaxed);
        }
        counters
            .weight_bytes
            .fetch_add(weight_bytes, Ordering::Relaxed);
    }

    /// What there is by now.
    pub fn report(&self) -> ProfileReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let times = Operation::ALL.iter().zip(&self.counters);
        let times = times.map(|(operation, counters)| OperationTime {
            operation: *operation,
            calls: read(&counters.calls),
            nanoseconds: read(&counters.nanoseconds),
            operations: std::array::from_fn(|kind| (KINDS[kind], read(&counters.operations[kind]))),
            weight_bytes: read(&counters.weight_bytes),
        });
        ProfileReport {
            steps: read(&self.steps),
            tokens: read(&self.tokens),
            times: times.filter(|time| time.calls > 0).collect(),
        }
    }

    fn time<T>(&self, operation: Operation, work: impl FnOnce() -> T) -> T {
        let outer = self.switch_to(operation as usize);
        self.counters[operation as usize]
            .calls
            .fetch_add(1, Ordering::Relaxed);
        let result = work();
        self.switch_to(outer);
        result
    }

    /// Gives the time since the last switch to whose it was; returns that one.
    fn switch_to(&self, next: usize) -> usize {
        let now = self.clock.nanoseconds();
        let current = self.current.swap(next, Ordering::Relaxed);
        let since = self.since.swap(now, Ordering::Relaxed);
        self.counters[current]
            .nanoseconds
            .fetch_add(now.saturating_sub(since), Ordering::Relaxed);
        current
    }
}

/// Does `work`, and times it where there is a profile.
#[inline]
pub(crate) fn timed<T>(
    profile: Option<&Profile>,
    operation: Operation,
    work: impl FnOnce() -> T,
) -> T {
    match profile {
        None => work(),
        Some(profile) => profile.time(operation, work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteppedClock;

    #[test]
    fn operations_stand_at_their_places() {
        for (place, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, place);
        }
    }

    #[test]
    fn inner_operations_interrupt_outer_ones_and_the_sum_is_the_whole() {
        let clock = Arc::new(SteppedClock::default());
        let profile = Profile::new(Arc::clone(&clock) as Arc<dyn Clock>);
        for _ in 0..2 {
            clock.advance(1_000_000); // between steps: nobody's
            profile.begin_step();
            clock.advance(1);
            let answer = timed(Some(&profile), Operation::Down, || {
                clock.advance(10);
                timed(Some(&profile), Operation::Quantize, || clock.advance(100));
                profile.count_product(Operands::Bytes, 64, 32);
                clock.advance(1000);
                42
            });
            assert_eq!(answer, 42);
            clock.advance(2);
            profile.end_step(5);
        }
        profile.begin_step();
        profile.end_step(0);
        let report = profile.report();
        assert_eq!((report.steps, report.tokens), (2, 10));
        let seen: Vec<_> = report
            .times
            .iter()
            .map(|time| (time.operation, time.calls, time.nanoseconds))
            .collect();
        assert_eq!(
            seen,
            [
                (Operation::Quantize, 2, 200),
                (Operation::Down, 2, 2020),
                (Operation::Other, 3, 6)
            ]
        );
        let down = report.times[1];
        assert_eq!(down.operations[0], (Operands::Bytes, 128));
        assert_eq!(down.weight_bytes, 64);
        assert_eq!(report.times[0].weight_bytes, 0);
    }

    #[test]
    fn without_a_profile_the_work_is_done_all_the_same() {
        assert_eq!(timed(None, Operation::Head, || 7), 7);
    }
}
