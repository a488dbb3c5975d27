//! Adapters on the budget's pages: who stays, who goes, and that nobody takes more than there is.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test may have a clock")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use ruvllm_core::clock::{Clock, Deadline, SteppedClock};
use ruvllm_core::lora::{
    Adapter, AdapterBuilder, AdapterPool, Matrix, PlacedPart, ReadyAdapter, Site, Values,
};
use ruvllm_core::memory::{Kind, Lease, PagePool, PagePoolConfig, Watermarks};
use ruvllm_core::{Error, Result};

const PAGE: usize = 4096;

fn pages(count: usize) -> Arc<PagePool> {
    PagePool::new(PagePoolConfig {
        budget_bytes: count * PAGE,
        page_bytes: PAGE,
        watermarks: Watermarks {
            high: 1.0,
            low: 1.0,
        },
    })
    .unwrap()
}

/// One of `32 * inputs + 32 * 16` bytes: rank 16, f16.
fn adapter(generation: u64, inputs: usize) -> Adapter {
    let (a, b) = (vec![0.5; 16 * inputs], vec![0.25; 16 * 16]);
    let matrix = |values, rows, columns| Matrix {
        values: Values::Floats(values),
        rows,
        columns,
    };
    let part = PlacedPart {
        layer: 0,
        site: Site::AttentionInput,
        first_output: 0,
        a: matrix(&a, 16, inputs),
        b: matrix(&b, 16, 16),
        order: None,
        scale: 1.0,
    };
    let parts = [part];
    let mut builder = AdapterBuilder::new(1, false, &parts).unwrap();
    builder.write(0).unwrap();
    builder.build(generation)
}

fn put(pool: &Arc<AdapterPool>, generation: u64, inputs: usize) -> Result<ReadyAdapter> {
    let clock = SteppedClock::default();
    let made = adapter(generation, inputs);
    let now = Deadline::after(&clock, Duration::ZERO);
    pool.put((generation, made.bytes()), now, || Ok(made))
}

/// Inputs that make an adapter of so many bytes.
fn inputs_of(bytes: usize) -> usize {
    (bytes - 512) / 32
}

#[test]
fn many_small_ones_share_a_page() {
    let pool = AdapterPool::new(pages(8), 8 * PAGE);
    let held: Vec<_> = (1..=8)
        .map(|number| put(&pool, number, inputs_of(1024)).unwrap())
        .collect();
    let stats = pool.stats();
    assert_eq!(
        (stats.ready, stats.ready_bytes, stats.pages),
        (8, 8 * 1024, 2)
    );
    assert!(held.iter().all(|one| one.bytes() == 1024));
}

#[test]
fn the_longest_unused_goes_and_what_is_held_stays() {
    let pool = AdapterPool::new(pages(8), 2 * PAGE);
    for number in 1..=2 {
        put(&pool, number, inputs_of(PAGE)).unwrap();
    }
    let first = pool.get(1).unwrap();
    put(&pool, 3, inputs_of(PAGE)).unwrap();
    assert!(pool.get(2).is_none());
    assert_eq!(first.generation(), 1);
    let third = pool.get(3).unwrap();
    let error = put(&pool, 4, inputs_of(PAGE)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
    assert!(error.to_string().contains("requests that run hold 8192"));
    drop(third);
    put(&pool, 4, inputs_of(PAGE)).unwrap();
    assert!(pool.get(1).is_some());
    let error = put(&pool, 5, inputs_of(2 * PAGE + 32)).unwrap_err();
    assert!(matches!(error, Error::Adapter(_)), "{error}");
    assert_eq!(pool.stats().evicted, 2);
}

#[test]
fn keys_and_values_take_what_nobody_holds() {
    let budget = pages(4);
    let pool = AdapterPool::new(Arc::clone(&budget), 4 * PAGE);
    let held = put(&pool, 1, inputs_of(PAGE)).unwrap();
    put(&pool, 2, inputs_of(PAGE)).unwrap();
    put(&pool, 3, inputs_of(PAGE)).unwrap();
    assert_eq!(budget.pages_for(Kind::Kv), 3);
    let kv = budget.lease(Kind::Kv, None, 3).unwrap();
    assert!(pool.get(2).is_none() && pool.get(3).is_none());
    assert_eq!(pool.stats().pages, 1);
    assert!(put(&pool, 2, inputs_of(PAGE)).is_err());
    assert!(budget.lease(Kind::Kv, None, 1).is_err());
    drop(kv);
    put(&pool, 2, inputs_of(PAGE)).unwrap();
    drop(held);
    assert_eq!(budget.pages_for(Kind::Kv), 4);
    drop(budget.lease(Kind::Kv, None, 4).unwrap());
    assert_eq!(pool.stats().ready, 0);
}

#[test]
fn one_that_was_forgotten_goes_with_its_last_holder_or_is_taken_up_again() {
    let pool = AdapterPool::new(pages(4), 4 * PAGE);
    let held = put(&pool, 1, inputs_of(PAGE)).unwrap();
    pool.forget(1);
    assert_eq!(pool.stats().ready, 1);
    let again = pool.get(1).unwrap();
    drop(held);
    pool.forget(1);
    drop(again);
    assert_eq!((pool.stats().ready, pool.stats().pages), (0, 0));
    pool.forget(1);
}

#[test]
fn who_waits_is_served_when_another_lets_go() {
    #[derive(Debug)]
    struct Real(std::time::Instant);
    impl Clock for Real {
        fn nanoseconds(&self) -> u64 {
            self.0.elapsed().as_nanos() as u64
        }
    }
    let clock = Real(std::time::Instant::now());
    let pool = AdapterPool::new(pages(1), PAGE);
    let held = put(&pool, 1, inputs_of(PAGE)).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let made = adapter(2, inputs_of(PAGE));
            let deadline = Deadline::after(&clock, Duration::from_secs(20));
            pool.put((2, made.bytes()), deadline, || Ok(made))
                .map(|one| one.generation())
        });
        std::thread::sleep(Duration::from_millis(20));
        drop(held);
        assert_eq!(waiter.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_failure_leaves_no_trace() {
    let budget = pages(2);
    let pool = AdapterPool::new(Arc::clone(&budget), 2 * PAGE);
    let clock = SteppedClock::default();
    let now = Deadline::after(&clock, Duration::ZERO);
    let failure = || Err(Error::Adapter("no numbers".to_owned()));
    assert!(pool.put((1, 2 * PAGE), now, failure).is_err());
    assert!(pool.get(1).is_none());
    drop(budget.lease(Kind::Kv, None, 2).unwrap());
    put(&pool, 1, inputs_of(2 * PAGE)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against a list of who holds what: nothing held ever goes, and the sums are right.
    #[test]
    fn whatever_is_asked_the_books_are_right(steps in prop::collection::vec((0u8..6, 1u64..9, 0usize..4), 1..80)) {
        let budget = pages(10);
        let pool = AdapterPool::new(Arc::clone(&budget), 6 * PAGE);
        let bytes_of = |generation: u64| 1024 * (1 + generation as usize);
        let mut held: Vec<ReadyAdapter> = Vec::new();
        let mut kv = Vec::new();
        for (what, generation, index) in steps {
            match what {
                0 | 1 => {
                    let found = pool.get(generation);
                    let one = found.map_or_else(|| put(&pool, generation, inputs_of(bytes_of(generation))), Ok);
                    held.extend(one.ok());
                }
                2 if !held.is_empty() => drop(held.swap_remove(index % held.len())),
                3 => pool.forget(generation),
                4 => kv.extend(budget.lease(Kind::Kv, None, 1 + index)),
                5 => drop(kv.pop()),
                _ => {}
            }
            for one in &held {
                prop_assert!(pool.get(one.generation()).is_some());
            }
            let distinct: HashMap<u64, usize> = held.iter().map(|one| (one.generation(), one.bytes())).collect();
            let held_bytes: usize = distinct.values().sum();
            let stats = pool.stats();
            prop_assert!(held_bytes <= stats.ready_bytes && stats.ready_bytes <= stats.pages * PAGE);
            prop_assert!(stats.pages <= 6);
            let kv_pages: usize = kv.iter().map(Lease::pages).sum();
            prop_assert_eq!(budget.stats().used_pages, [kv_pages, stats.pages, 0]);
            prop_assert_eq!(budget.pages_for(Kind::Kv), 10 - held_bytes.div_ceil(PAGE));
        }
    }
}

#[test]
fn from_many_threads() {
    let budget = pages(12);
    let pool = AdapterPool::new(Arc::clone(&budget), 8 * PAGE);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (pool, budget) = (&pool, &budget);
            scope.spawn(move || {
                for round in 0..400u64 {
                    let generation = 1 + (round * 7 + thread * 3) % 11;
                    let bytes = 1024 * (1 + generation as usize % 5);
                    let one = pool
                        .get(generation)
                        .map_or_else(|| put(pool, generation, inputs_of(bytes)), Ok);
                    if let Ok(one) = one {
                        assert_eq!((one.generation(), one.bytes()), (generation, bytes));
                    }
                    if round % 5 == 0 {
                        drop(budget.lease(Kind::Kv, None, 3));
                    }
                    if round % 17 == 0 {
                        pool.forget(generation);
                    }
                }
            });
        }
    });
    (1..12).for_each(|generation| pool.forget(generation));
    assert_eq!((pool.stats().ready, pool.stats().pages), (0, 0));
    assert_eq!(budget.stats().used_pages, [0, 0, 0]);
}
