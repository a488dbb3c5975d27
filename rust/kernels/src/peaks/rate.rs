//! How much all threads together do in a second, whatever it is.

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

/// Units a second that all threads do together: each calls `work` with its number until the window
/// is over and adds up what it says; the best of several windows.
pub(super) fn best_rate(pool: &ThreadPool, work: &(dyn Fn(usize) -> u64 + Sync)) -> f64 {
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
}
