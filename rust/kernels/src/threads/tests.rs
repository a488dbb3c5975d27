//! What every job of a pool may rely on.

use super::*;

#[test]
fn every_chunk_runs_once_over_many_jobs() {
    for threads in [1, 2, 5] {
        let pool = ThreadPool::new(threads);
        for chunks in (0..400).map(|job| job % 17) {
            let hits: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
            pool.run(chunks, &|chunk| {
                hits[chunk].fetch_add(1, Ordering::Relaxed);
            });
            assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1));
        }
    }
}

#[test]
fn a_thread_that_is_held_up_gets_help_with_its_run() {
    let pool = ThreadPool::new(2);
    let held = AtomicUsize::new(0);
    let others = AtomicUsize::new(0);
    let late = |seen: &AtomicUsize| seen.load(Ordering::SeqCst) < 7;
    pool.run(8, &|chunk| {
        // The first chunk waits until every other one has run, its own run's included.
        if chunk == 0 {
            while late(&others) {
                std::thread::yield_now();
            }
            held.fetch_add(1, Ordering::SeqCst);
        } else {
            others.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(held.load(Ordering::SeqCst), 1);
    assert!(!late(&others));
}

#[test]
fn what_to_read_ahead_outlives_the_job_as_a_hint_only() {
    let pool = ThreadPool::new(2);
    for _ in 0..100 {
        let bytes = vec![1u8; 1 << 16];
        let ahead = [ReadAhead::of(&bytes); 2];
        pool.run_before(&ahead, 8, &|_| {});
    }
    let (mut hint, mut lines) = (ReadAhead::of(&[0_u8; 200]), 0);
    while hint.ask() {
        lines += 1;
    }
    assert_eq!(lines, 3);
}

#[test]
fn sleeping_workers_wake_for_the_next_job() {
    let pool = ThreadPool::new(3);
    for _ in 0..3 {
        std::thread::sleep(SPIN * 4);
        let seen = AtomicUsize::new(0);
        pool.run(64, &|_| {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(seen.load(Ordering::Relaxed), 64);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    let pool = ThreadPool::new(2);
    let failed = catch_unwind(AssertUnwindSafe(|| {
        pool.run(8, &|chunk| assert_ne!(chunk, 5, "on purpose"));
    }));
    assert!(failed.is_err());
    let seen = AtomicUsize::new(0);
    pool.run(8, &|_| {
        seen.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(seen.load(Ordering::Relaxed), 8);
}

#[test]
fn callers_from_many_threads_take_turns() {
    let pool = ThreadPool::new(2);
    let seen = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    pool.run(3, &|_| {
                        seen.fetch_add(1, Ordering::Relaxed);
                    });
                }
            });
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), 1200);
}

/// Short jobs one behind the other, by more threads than there are processors: whoever is late finds the run of a job
/// that it knows nothing of, and works on that.
#[test]
fn nobody_works_on_a_job_that_is_over() {
    let pool = ThreadPool::new(9);
    for job in 0..3000_usize {
        let chunks = 1 + job % 23;
        let hits: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(chunks, &|chunk| {
            if (job + chunk).is_multiple_of(7) {
                std::thread::yield_now();
            }
            hits[chunk].fetch_add(1, Ordering::Relaxed);
        });
        let hits: Vec<_> = hits.into_iter().map(AtomicUsize::into_inner).collect();
        assert_eq!(hits, vec![1; chunks], "job {job}");
    }
}

/// Wherever it happens, chunks that others hold are done before the caller goes on, and those that nobody holds are
/// not waited for.
#[test]
fn a_panic_ends_a_job_whoever_has_it() {
    let pool = ThreadPool::new(4);
    for job in 0..400_usize {
        let chunks = 2 + job % 11;
        let inside = AtomicUsize::new(0);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            pool.run(chunks, &|chunk| {
                inside.fetch_add(1, Ordering::SeqCst);
                std::thread::yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                if chunk == job % chunks {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
            });
        }));
        assert!(
            failed.is_err() && inside.load(Ordering::SeqCst) == 0,
            "job {job}"
        );
        let seen = AtomicUsize::new(0);
        pool.run(chunks, &|_| {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(
            seen.load(Ordering::Relaxed),
            chunks,
            "the next one is whole"
        );
    }
}
