//! A fork-join pool: one job at a time, cut into chunks. Each thread has a run of them that it works
//! through, so that it walks through neighbouring memory; then it helps the others with theirs.
//!
//! The calling thread works too, and waits only for chunks that workers have taken: one that sleeps, or that the
//! system has put aside, costs nothing but its help. Workers spin shortly for the next job, because a forward pass
//! has hundreds, and then sleep.
//!
//! No line of memory is written by all threads. A worker looks at its own run, which the caller fills when a job
//! begins; to take a chunk is to be inside the job, which cannot end before the chunk is done; and what a thread has
//! done it counts for itself.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::read_ahead::ReadAhead;

/// How long a worker looks for the next job before it sleeps.
const SPIN: Duration = Duration::from_micros(300);
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Threads that share the chunks of a job.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One job at a time, whoever calls; chunks that workers have done of all jobs.
    turn: Mutex<u64>,
}

struct Shared {
    /// What is left of each thread's run.
    runs: Vec<OwnLine<Run>>,
    /// How many chunks each worker has done of all jobs.
    done: Vec<OwnLine<AtomicU64>>,
    job: UnsafeCell<Job>,
    panicked: AtomicBool,
    stopping: AtomicBool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Alone on its cache lines, so that threads do not wait for each other's counters.
#[repr(align(128))]
struct OwnLine<T>(T);

/// Neighbouring chunks: the first that nobody has taken in the low half, the end in the high one.
#[derive(Default)]
struct Run(AtomicU64);

impl Run {
    fn fill(&self, chunks: &Range<usize>) {
        let value = (chunks.end as u64) << 32 | chunks.start as u64;
        self.0.store(value, Ordering::Release);
    }

    fn left(value: u64) -> Range<u64> {
        value & 0xffff_ffff..value >> 32
    }

    fn is_empty(&self) -> bool {
        Self::left(self.0.load(Ordering::Acquire)).is_empty()
    }

    /// The next chunk. Whoever holds it is inside its job, whichever that has become.
    fn take(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        let left = Self::left(self.0.fetch_add(1, Ordering::Acquire));
        (!left.is_empty()).then_some(left.start as usize)
    }

    /// Takes all that is left; how many chunks.
    fn take_all(&self) -> usize {
        let left = Self::left(self.0.swap(0, Ordering::Acquire));
        left.end.saturating_sub(left.start) as usize
    }
}

#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync + 'static),
    /// For each thread what it may ask memory for when it is done.
    ahead: *const [ReadAhead],
}

// SAFETY: `job` is written by the thread that holds `turn`, only while all chunks of the job before are done and none
// of the next can be taken; workers read it only while they hold a chunk, which they took after it was written (acquire).
unsafe impl Sync for Shared {}
// SAFETY: the pointers in `job` are used only while a chunk of it is held, which its closure outlives.
unsafe impl Send for Shared {}

impl ThreadPool {
    /// A pool of `threads`, the calling one included; at least one.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            runs: (0..threads.max(1))
                .map(|_| OwnLine(Run::default()))
                .collect(),
            done: (1..threads.max(1))
                .map(|_| OwnLine(AtomicU64::new(0)))
                .collect(),
            job: UnsafeCell::new(Job {
                work: &|_| {},
                ahead: &[],
            }),
            panicked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let workers = (1..threads.max(1))
            .filter_map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("ruvllm-worker-{index}"))
                    .spawn(move || shared.serve(index))
                    .ok()
            })
            .collect();
        Self {
            shared,
            workers,
            turn: Mutex::new(0),
        }
    }

    /// How many threads share a job, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work` once for each item, `batch` of them at a time on whichever thread is free.
    ///
    /// # Panics
    ///
    /// Where `work` panicked in any thread.
    pub fn for_each<I: Send>(&self, items: Vec<I>, batch: usize, work: impl Fn(I) + Sync) {
        if self.workers.is_empty() || items.len() <= batch {
            items.into_iter().for_each(work);
            return;
        }
        let slots: Vec<_> = items
            .into_iter()
            .map(|item| Mutex::new(Some(item)))
            .collect();
        self.run(slots.len().div_ceil(batch), &|chunk| {
            for slot in &slots[chunk * batch..slots.len().min((chunk + 1) * batch)] {
                let item = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                item.into_iter().for_each(&work);
            }
        });
    }

    /// Calls `work` once for each chunk of `0..chunks` and returns when all are done.
    ///
    /// # Panics
    ///
    /// Where `work` panicked in any thread.
    pub fn run(&self, chunks: usize, work: &(dyn Fn(usize) + Sync)) {
        self.run_before(&[], chunks, work);
    }

    /// As [`Self::run`]; threads that wait meanwhile or afterwards ask memory for `ahead`, which has
    /// an entry for each thread.
    ///
    /// # Panics
    ///
    /// Where `work` panicked in any thread.
    pub fn run_before(&self, ahead: &[ReadAhead], chunks: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() || chunks <= 1 {
            (0..chunks).for_each(work);
            return;
        }
        let mut done = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.open(work, chunks, ahead);
        let mut own = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.shared.take_chunks(0, |chunk| {
                own += 1;
                work(chunk);
            });
        }));
        if outcome.is_err() {
            // Nobody will do what is left.
            own += self
                .shared
                .runs
                .iter()
                .map(|run| run.0.take_all())
                .sum::<usize>();
        }
        *done += (chunks - own) as u64;
        self.shared
            .wait_for(*done, ahead.first().copied().unwrap_or_default());
        let panicked = self.shared.panicked.swap(false, Ordering::AcqRel);
        match outcome {
            Err(payload) => std::panic::resume_unwind(payload),
            Ok(()) => assert!(
                !panicked,
                "a worker thread panicked; its message stands above"
            ),
        }
    }
}

impl Shared {
    fn open(&self, work: Work<'_>, chunks: usize, ahead: &[ReadAhead]) {
        // SAFETY: the lifetime is widened only for storage: `run_before` does not return before all chunks are done, so
        // the closure outlives every use. The cell is ours: all runs are empty, so nobody holds a chunk, and `turn`
        // keeps other callers out.
        unsafe {
            let work = std::mem::transmute::<Work<'_>, Work<'static>>(work);
            *self.job.get() = Job { work, ahead };
        }
        let threads = self.runs.len();
        for (thread, run) in self.runs.iter().enumerate() {
            run.0
                .fill(&(chunks * thread / threads..chunks * (thread + 1) / threads));
        }
        // A worker says that it sleeps and then looks once more for chunks; these come before its word is read.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            let _guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }

    /// Waits until workers have done so many chunks of all jobs.
    fn wait_for(&self, done: u64, mut ahead: ReadAhead) {
        let mut spins = 0u32;
        let sum = || -> u64 {
            let counts = self.done.iter();
            counts.map(|done| done.0.load(Ordering::Acquire)).sum()
        };
        while sum() != done {
            spins += 1;
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            if !ahead.ask() {
                std::hint::spin_loop();
            }
        }
    }

    /// Works through the own run, then through what is left of the others'.
    fn take_chunks(&self, thread: usize, mut work: impl FnMut(usize)) {
        for owner in (thread..self.runs.len()).chain(0..thread) {
            while let Some(chunk) = self.runs[owner].0.take() {
                work(chunk);
            }
        }
    }

    /// A worker's life: chunks of its own run, chunks of others, and nothing for a while.
    fn serve(&self, thread: usize) {
        let done = &self.done[thread - 1].0;
        let mut count = 0;
        let mut ahead = ReadAhead::default();
        while self.wait_for_run(thread, &mut ahead) {
            self.take_chunks(thread, |chunk| {
                // SAFETY: a chunk is held, so the cell is not written, and what it points to lives until this is done.
                let (work, hints) = unsafe {
                    let job = *self.job.get();
                    (&*job.work, &*job.ahead)
                };
                ahead = hints.get(thread).copied().unwrap_or_default();
                if catch_unwind(AssertUnwindSafe(|| work(chunk))).is_err() {
                    self.panicked.store(true, Ordering::Release);
                }
                count += 1;
                done.store(count, Ordering::Release);
            });
        }
    }

    /// Whether a worker has chunks of its own before the pool stops.
    fn wait_for_run(&self, thread: usize, ahead: &mut ReadAhead) -> bool {
        let run = &self.runs[thread].0;
        let mut spinning_since = Instant::now();
        loop {
            for _ in 0..64 {
                if !run.is_empty() {
                    return true;
                }
                if !ahead.ask() {
                    std::hint::spin_loop();
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return false;
            }
            if spinning_since.elapsed() < SPIN {
                continue;
            }
            let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            let idle = || run.is_empty() && !self.stopping.load(Ordering::SeqCst);
            let guard = self.wake.wait_while(guard, |()| idle());
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            drop(guard);
            spinning_since = Instant::now();
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        {
            let _guard = self
                .shared
                .sleep
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches its panics, so joining can only succeed.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ThreadPool({} threads)", self.threads())
    }
}

#[cfg(test)]
mod tests;
