//! A profile of real steps: complete, counted right, and without effect on the results.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruvllm_core::clock::Clock;
use ruvllm_core::profile::{Operation, ProfileReport};
use ruvllm_core::sequence::Task;
use support::{engine, greedy, model, request, run_all};

/// A nanosecond passes whenever someone looks.
#[derive(Debug, Default)]
struct CountingClock(AtomicU64);

impl Clock for CountingClock {
    fn nanoseconds(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

const PROMPT: usize = 20;
const GENERATED: usize = 5;

fn profile_of(name: &str) -> ProfileReport {
    let tokens: Vec<u32> = (3..3 + PROMPT as u32).collect();
    let model = model(name);
    let mut plain = engine(&model, 32);
    plain
        .add(request(&tokens, Task::Generate(greedy(GENERATED))))
        .unwrap();
    let expected = run_all(&mut plain, 512);
    assert_eq!(plain.take_profile(), None);

    let mut profiled = engine(&model, 32);
    profiled.start_profile(Arc::new(CountingClock::default()));
    profiled
        .add(request(&tokens, Task::Generate(greedy(GENERATED))))
        .unwrap();
    assert_eq!(run_all(&mut profiled, 512), expected);
    let report = profiled.take_profile().unwrap();
    assert_eq!(profiled.take_profile(), None);
    report
}

#[test]
fn every_operation_of_every_layer_is_counted() {
    let report = profile_of("models/llama-gqa");
    let spec_layers = model("models/llama-gqa").spec().layers.len() as u64;
    let steps = GENERATED as u64;
    assert_eq!(report.steps, steps);
    assert_eq!(report.tokens, (PROMPT + GENERATED - 1) as u64);
    let calls = |operation| {
        let found = report.times.iter().find(|time| time.operation == operation);
        found.map_or(0, |time| time.calls)
    };
    for operation in [
        Operation::QueryKeyValue,
        Operation::Store,
        Operation::Attention,
        Operation::AttentionOutput,
        Operation::GateUp,
        Operation::Down,
    ] {
        assert_eq!(calls(operation), steps * spec_layers, "{operation:?}");
    }
    for operation in [
        Operation::Embed,
        Operation::Head,
        Operation::Sampling,
        Operation::Other,
    ] {
        assert_eq!(calls(operation), steps, "{operation:?}");
    }
    assert_eq!(calls(Operation::Rope), steps * (spec_layers + 1));
    assert!(report.times.iter().all(|time| time.nanoseconds > 0));
}

#[test]
fn products_are_counted_in_operations_and_bytes() {
    let report = profile_of("models/llama-gqa");
    let model = model("models/llama-gqa");
    let spec = model.spec();
    let hidden = spec.hidden_size;
    let projected = (spec.num_heads + 2 * spec.num_kv_heads) * spec.head_dim;
    let layers = spec.layers.len();
    let wanted = [
        (
            Operation::QueryKeyValue,
            layers * projected * hidden,
            report.tokens,
        ),
        (
            Operation::GateUp,
            layers * 2 * spec.feed_forward_size * hidden,
            report.tokens,
        ),
        // Logits are wanted for the last row of a step alone.
        (Operation::Head, spec.vocab_size * hidden, report.steps),
    ];
    for (operation, weights, tokens) in wanted {
        let time = report.times.iter().find(|time| time.operation == operation);
        let time = time.unwrap();
        let operations: u64 = time.operations.iter().map(|(_, count)| count).sum();
        assert_eq!(operations, 2 * weights as u64 * tokens, "{operation:?}");
        let bytes_a_step = time.weight_bytes / report.steps;
        // F32 in the file: as they are, or shorter; a tile may be filled up.
        assert!(
            bytes_a_step >= weights as u64 && bytes_a_step <= 8 * weights as u64,
            "{operation:?}: {bytes_a_step} bytes of {weights} weights"
        );
    }
    let attention = report
        .times
        .iter()
        .find(|time| time.operation == Operation::Attention);
    assert_eq!(attention.unwrap().weight_bytes, 0);
}
