//! What makes time pass for kernels: it advances the epoch of an engine while kernels are called.
//!
//! The thread starts with the first call, sleeps when nobody has called for a while, and ends with
//! its sandbox. It does not survive a fork; [`Ticker::is_elsewhere`] tells the child.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// How long after the last call the thread goes on, since waking it takes longer than a call.
const LINGER: Duration = Duration::from_secs(1);

/// Who advances the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticking {
    /// A thread, so often.
    Every(Duration),
    /// Whoever calls [`crate::Sandbox::tick`]: for tests, in which no time passes by itself.
    ByHand,
}

#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: u32,
}

struct Shared {
    engine: EngineWeak,
    interval: Option<Duration>,
    in_flight: AtomicUsize,
    /// Whether there was a call since the last tick.
    is_busy: AtomicBool,
    /// Whether the thread sleeps, or was not started.
    is_parked: AtomicBool,
    is_ending: Mutex<bool>,
    wake: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Shared")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// A call under way; time passes until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(crate) fn new(engine: &Engine, ticking: Ticking) -> Self {
        let interval = match ticking {
            Ticking::Every(interval) => Some(interval),
            Ticking::ByHand => None,
        };
        Self {
            shared: Arc::new(Shared {
                engine: engine.weak(),
                interval,
                in_flight: AtomicUsize::new(0),
                is_busy: AtomicBool::new(false),
                is_parked: AtomicBool::new(interval.is_some()),
                is_ending: Mutex::new(false),
                wake: Condvar::new(),
            }),
            thread: Mutex::new(None),
            process: std::process::id(),
        }
    }

    /// Time passes from here on; `None` where there is no thread for it and none can be had.
    pub(crate) fn enter(&self) -> Option<InFlight<'_>> {
        let shared = &*self.shared;
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let call = InFlight(shared);
        shared.is_busy.store(true, Ordering::Relaxed);
        // The thread says that it sleeps before it looks for calls, so one of the two sees the other.
        let is_parked = shared.is_parked.load(Ordering::SeqCst);
        (!is_parked || self.rouse()).then_some(call)
    }

    /// Whether this is a process that was forked off: the thread stayed behind.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.process != std::process::id()
    }

    /// Wakes the thread, or starts it; whether there is one.
    #[cold]
    fn rouse(&self) -> bool {
        let mut thread = lock(&self.thread);
        let Some(interval) = self.shared.interval else {
            return true;
        };
        if thread.is_none() {
            self.shared.is_parked.store(false, Ordering::SeqCst);
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("ruvllm-pack-ticker".to_owned());
            *thread = builder.spawn(move || shared.run(interval)).ok();
            // Without a thread the next call tries again.
            self.shared
                .is_parked
                .store(thread.is_none(), Ordering::SeqCst);
            return thread.is_some();
        }
        let _held = lock(&self.shared.is_ending);
        self.shared.wake.notify_one();
        true
    }
}

impl Shared {
    fn run(&self, interval: Duration) {
        let most_idle = LINGER.as_nanos() / interval.as_nanos().max(1);
        let mut idle = 0;
        let mut is_ending = lock(&self.is_ending);
        while !*is_ending {
            if idle < most_idle {
                let waited = self.wake.wait_timeout(is_ending, interval);
                is_ending = waited.unwrap_or_else(PoisonError::into_inner).0;
                let is_busy = self.is_busy.swap(false, Ordering::Relaxed);
                let is_idle = !is_busy && self.in_flight.load(Ordering::SeqCst) == 0;
                idle = if is_idle { idle + 1 } else { 0 };
                let Some(engine) = self.engine.upgrade() else {
                    return;
                };
                engine.increment_epoch();
                continue;
            }
            self.is_parked.store(true, Ordering::SeqCst);
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                is_ending = self
                    .wake
                    .wait(is_ending)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            self.is_parked.store(false, Ordering::SeqCst);
            idle = 0;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else { return };
        if self.is_elsewhere() {
            // There is no such thread here; its lock may be held for ever.
            std::mem::forget(thread);
            return;
        }
        *lock(&self.shared.is_ending) = true;
        self.shared.wake.notify_one();
        // It panics nowhere, and this is no place to tell of it.
        let _ = thread.join();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_thread_ends_with_the_ticker() {
        let engine = Engine::default();
        let ticker = Ticker::new(&engine, Ticking::Every(Duration::from_millis(1)));
        drop(ticker.enter());
        let shared = Arc::downgrade(&ticker.shared);
        let begin = Instant::now();
        drop(ticker);
        assert!(
            shared.upgrade().is_none(),
            "the thread holds what it shares"
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn it_sleeps_when_nobody_calls_and_wakes_for_a_call() {
        let engine = Engine::default();
        let ticker = Ticker::new(&engine, Ticking::Every(Duration::from_millis(20)));
        drop(ticker.enter());
        let begin = Instant::now();
        while !ticker.shared.is_parked.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < Duration::from_secs(30), "it never sleeps");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(begin.elapsed() > LINGER / 2, "it sleeps at once");
        let call = ticker.enter();
        while ticker.shared.is_parked.load(Ordering::SeqCst) {
            assert!(begin.elapsed() < Duration::from_mins(1), "it never wakes");
            std::thread::yield_now();
        }
        drop(call);
    }
}
