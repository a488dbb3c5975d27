//! A fork-join pool: one job at a time, cut into chunks. Each thread has a run of them that it works
//! through, so that it walks through neighbouring memory; then it helps the others with theirs.
//!
//! The calling thread works too, and waits only for workers that have entered the job: one that
//! sleeps, or that the system has put aside, costs nothing but its help. Workers spin shortly for
//! the next job, because a forward pass has hundreds, and then sleep.

use std::cell::UnsafeCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::read_ahead::ReadAhead;

/// How long a worker looks for the next job before it sleeps.
const SPIN: Duration = Duration::from_micros(300);
/// Low half of the state: workers inside. High half: the job's number, odd while it is open.
const INSIDE: u64 = 0xffff_ffff;
const EPOCH: u64 = 1 << 32;

type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Threads that share the chunks of a job.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One job at a time, whoever calls.
    turn: Mutex<()>,
}

struct Shared {
    state: AtomicU64,
    /// The next chunk of each thread's run.
    next_chunks: Vec<OwnLine<AtomicUsize>>,
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

#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync + 'static),
    chunks: usize,
    /// For each thread what it may ask memory for when it is done.
    ahead: *const [ReadAhead],
}

// SAFETY: `job` is written by the thread that holds `turn`, only while the state is closed and
// nobody is inside; workers read it only after they have entered an open state (acquire).
unsafe impl Sync for Shared {}
// SAFETY: the pointers in `job` are used only inside an open job, whose closure outlives it.
unsafe impl Send for Shared {}

impl ThreadPool {
    /// A pool of `threads`, the calling one included; at least one.
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next_chunks: (0..threads.max(1))
                .map(|_| OwnLine(AtomicUsize::new(0)))
                .collect(),
            job: UnsafeCell::new(Job {
                work: &|_| {},
                chunks: 0,
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
            turn: Mutex::new(()),
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
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.open(work, chunks, ahead);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.shared.take_chunks(work, chunks, 0);
        }));
        self.shared
            .close(ahead.first().copied().unwrap_or_default());
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
        // SAFETY: the lifetime is widened only for storage: `run` does not return before `close`
        // has seen the last worker leave, so the closure outlives every use. The cell is ours:
        // the state is closed, nobody is inside, and `turn` keeps other callers out.
        unsafe {
            let work = std::mem::transmute::<Work<'_>, Work<'static>>(work);
            *self.job.get() = Job {
                work,
                chunks,
                ahead,
            };
        }
        for (thread, next) in self.next_chunks.iter().enumerate() {
            next.0
                .store(self.run_of(thread, chunks).start, Ordering::Relaxed);
        }
        self.state.fetch_add(EPOCH, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.wake.notify_all();
        }
    }

    /// Lets nobody in any more and waits for those inside.
    fn close(&self, mut ahead: ReadAhead) {
        self.state.fetch_add(EPOCH, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.state.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            if !ahead.ask() {
                std::hint::spin_loop();
            }
        }
    }

    /// The chunks that a thread begins with.
    fn run_of(&self, thread: usize, chunks: usize) -> Range<usize> {
        let threads = self.next_chunks.len();
        chunks * thread / threads..chunks * (thread + 1) / threads
    }

    /// Works through the own run, then through what is left of the others'.
    fn take_chunks(&self, work: Work<'_>, chunks: usize, thread: usize) {
        let threads = self.next_chunks.len();
        for owner in (thread..threads).chain(0..thread) {
            let end = self.run_of(owner, chunks).end;
            let next = &self.next_chunks[owner].0;
            loop {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                if chunk >= end {
                    break;
                }
                work(chunk);
            }
        }
    }

    fn is_open(state: u64) -> bool {
        (state / EPOCH) % 2 == 1
    }

    /// A worker's life: find an open job it has not served, enter, work, leave.
    fn serve(&self, thread: usize) {
        let mut served = 0;
        let mut ahead = ReadAhead::default();
        while let Some(state) = self.wait_for_job(served, &mut ahead) {
            let entered =
                self.state
                    .compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
            if entered.is_err() {
                continue;
            }
            served = state / EPOCH;
            // SAFETY: this thread is counted inside an open job, so the cell is not written and
            // the closure lives until it leaves.
            let (work, chunks, hints) = unsafe {
                let job = *self.job.get();
                (&*job.work, job.chunks, &*job.ahead)
            };
            let take = AssertUnwindSafe(|| self.take_chunks(work, chunks, thread));
            if catch_unwind(take).is_err() {
                self.panicked.store(true, Ordering::Release);
            }
            if let Some(hint) = hints.get(thread) {
                ahead = *hint;
            }
            self.state.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The state of an open job other than `served`; `None` when the pool stops.
    fn wait_for_job(&self, served: u64, ahead: &mut ReadAhead) -> Option<u64> {
        let fresh = |state: u64| Self::is_open(state) && state / EPOCH != served;
        let mut spinning_since = Instant::now();
        loop {
            for _ in 0..64 {
                let state = self.state.load(Ordering::Acquire);
                if fresh(state) {
                    return Some(state);
                }
                if !ahead.ask() {
                    std::hint::spin_loop();
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                return None;
            }
            if spinning_since.elapsed() < SPIN {
                continue;
            }
            let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let idle = || {
                !fresh(self.state.load(Ordering::SeqCst)) && !self.stopping.load(Ordering::SeqCst)
            };
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
