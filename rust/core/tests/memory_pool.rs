//! The budget of pages: who gets them, who loses them, who waits, and that all come back.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test may have a clock")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ruvllm_core::Error;
use ruvllm_core::clock::{Clock, Deadline, SteppedClock};
use ruvllm_core::memory::{Kind, Lease, PagePool, PagePoolConfig, Ticket, Watermarks};

#[derive(Debug)]
struct RealClock(Instant);

impl Clock for RealClock {
    fn nanoseconds(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

fn pool(pages: usize) -> Arc<PagePool> {
    PagePool::new(PagePoolConfig {
        budget_bytes: pages * 4096,
        page_bytes: 4096,
        watermarks: Watermarks {
            high: 1.0,
            low: 1.0,
        },
    })
    .unwrap()
}

fn park(pool: &PagePool, lease: Lease, evicted: &Arc<AtomicUsize>) -> Ticket {
    let evicted = Arc::clone(evicted);
    pool.park(
        lease,
        Box::new(move || {
            evicted.fetch_add(1, Ordering::SeqCst);
        }),
    )
}

#[test]
fn pages_are_counted_by_kind_and_come_back() {
    let pool = pool(10);
    let kv = pool.lease(Kind::Kv, None, 3).unwrap();
    let adapter = pool.lease(Kind::Adapter, None, 4).unwrap();
    assert_eq!(pool.stats().used_pages, [3, 4, 0]);
    assert_eq!((kv.pages(), adapter.pages()), (3, 4));
    drop((kv, adapter));
    let stats = pool.stats();
    assert_eq!((stats.used_pages, stats.highest_pages), ([0, 0, 0], 7));
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let pool = pool(10);
    let error = pool.lease(Kind::Kv, None, 11).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory(text) if text.contains("whole pool has, 10")));
    let _kv = pool.lease(Kind::Kv, None, 6).unwrap();
    let _adapter = pool.lease(Kind::Adapter, None, 2).unwrap();
    let error = pool.lease(Kind::Scratch, None, 3).unwrap_err().to_string();
    assert!(
        error.contains("of 10 pages 6 hold keys and values, 2 adapters and 0 scratch"),
        "{error}"
    );
}

#[test]
fn idle_leases_give_way_the_readiest_first() {
    let pool = pool(10);
    let evicted = Arc::new(AtomicUsize::new(0));
    let adapter = pool.lease(Kind::Adapter, None, 4).unwrap();
    let adapter = park(&pool, adapter, &evicted);
    let scratch = pool.lease(Kind::Scratch, None, 4).unwrap();
    let scratch = park(&pool, scratch, &evicted);
    assert_eq!(pool.stats().idle_pages, 8);
    // The adapter is older, but scratch memory is cheaper to lose.
    let _kv = pool.lease(Kind::Kv, None, 5).unwrap();
    assert_eq!(evicted.load(Ordering::SeqCst), 1);
    assert!(pool.revive(scratch).is_none());
    let adapter = pool.revive(adapter).unwrap();
    // In use again, it stays.
    assert!(pool.lease(Kind::Kv, None, 2).is_err());
    assert_eq!((adapter.pages(), pool.stats().evictions), (4, 1));
}

#[test]
fn eviction_begins_at_the_high_mark_and_ends_at_the_low_one() {
    let pool = PagePool::new(PagePoolConfig {
        budget_bytes: 100 * 4096,
        page_bytes: 4096,
        watermarks: Watermarks::default(),
    })
    .unwrap();
    let evicted = Arc::new(AtomicUsize::new(0));
    for _ in 0..85 {
        let lease = pool.lease(Kind::Adapter, None, 1).unwrap();
        park(&pool, lease, &evicted);
    }
    assert_eq!(evicted.load(Ordering::SeqCst), 0);
    let _one_more = pool.lease(Kind::Kv, None, 1).unwrap();
    assert_eq!(evicted.load(Ordering::SeqCst), 16);
    assert_eq!(pool.stats().used_pages, [1, 69, 0]);
}

#[test]
fn who_waits_has_the_pages_as_soon_as_they_are_there() {
    // By a clock that stands still nobody's time is ever over.
    let clock = SteppedClock::default();
    // And not by the system's either: who is not woken waits for as long as a test may take, and longer.
    let soon = || Deadline::after(&clock, Duration::from_hours(1));
    let pool = pool(4);
    let held = pool.lease(Kind::Kv, None, 3).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.lease_until(Kind::Adapter, None, 2, soon()).unwrap());
        while pool.awaited_pages() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(pool.awaited_pages(), 2);
        drop(held);
        waiter.join().unwrap();
    });
    assert_eq!(pool.awaited_pages(), 0);
    // Parking is enough, too.
    let held = pool.lease(Kind::Adapter, None, 4).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| pool.lease_until(Kind::Kv, None, 1, soon()).unwrap());
        while pool.awaited_pages() == 0 {
            std::thread::yield_now();
        }
        pool.park(held, Box::new(|| ()));
        waiter.join().unwrap();
    });
    // When the clock says so, the wait is over.
    let _all = pool.lease(Kind::Kv, None, 4).unwrap();
    std::thread::scope(|scope| {
        let deadline = Deadline::after(&clock, Duration::from_millis(1));
        let waiter = scope.spawn(move || pool.lease_until(Kind::Kv, None, 1, deadline).is_err());
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiter.is_finished(), "the clock stands still");
        clock.advance(1_000_000);
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_tenant_s_own_idle_pages_make_room_in_its_quota() {
    let pool = pool(10);
    pool.tenants().set_quota("a", Some(4 * 4096)).unwrap();
    let tenant = pool.tenants().tenant("a/b").unwrap();
    let evicted = Arc::new(AtomicUsize::new(0));
    let lease = pool.lease(Kind::Adapter, Some(&tenant), 3).unwrap();
    let error = pool.lease(Kind::Adapter, Some(&tenant), 2).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the quota of \"a\" is 16384 bytes"),
        "{error}"
    );
    park(&pool, lease, &evicted);
    let other = pool.lease(Kind::Adapter, None, 1).unwrap();
    park(&pool, other, &evicted);
    let second = pool.lease(Kind::Adapter, Some(&tenant), 2).unwrap();
    assert_eq!(second.tenant().unwrap().name(), "a/b");
    // Nobody else's went for it.
    assert_eq!(evicted.load(Ordering::SeqCst), 1);
    assert_eq!(pool.stats().idle_pages, 1);
}

#[test]
fn many_threads_never_hold_more_than_there_is_and_lose_nothing() {
    let pool = pool(12);
    pool.tenants().set_quota("t0", Some(6 * 4096)).unwrap();
    let (held, evicted) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let clock = RealClock(Instant::now());
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let tenant = pool.tenants().tenant(&format!("t{}", thread % 3)).unwrap();
            let (pool, held, evicted, clock) = (&pool, &held, &evicted, &clock);
            scope.spawn(move || {
                for round in 0..400 {
                    let pages = 1 + (thread * 7 + round) % 4;
                    let deadline =
                        Deadline::after(clock, Duration::from_millis((round % 3) as u64));
                    let lease = pool.lease_until(Kind::Kv, Some(&tenant), pages, deadline);
                    let Ok(lease) = lease else { continue };
                    let together = held.fetch_add(pages, Ordering::SeqCst) + pages;
                    assert!(together <= 12, "{together} pages of 12");
                    std::thread::yield_now();
                    held.fetch_sub(pages, Ordering::SeqCst);
                    if round % 2 == 0 {
                        let ticket = park(pool, lease, evicted);
                        if round % 4 == 0 {
                            drop(pool.revive(ticket));
                        }
                    }
                }
            });
        }
    });
    // What is still parked goes with the next one who needs everything.
    drop(pool.lease(Kind::Scratch, None, 12).unwrap());
    assert_eq!(pool.stats().used_pages, [0, 0, 0]);
    assert!(evicted.load(Ordering::SeqCst) > 0);
    assert!(
        pool.tenants()
            .stats()
            .iter()
            .all(|tenant| tenant.used_bytes == 0)
    );
}
