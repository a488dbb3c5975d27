//! Tasks of all kinds in the same steps, and counts that are kept as sequences come, share, give way and go.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use prompts::prompt;
use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::clock::SteppedClock;
use ruvllm_core::engine::{Engine, Plan, PlanRow};
use ruvllm_core::ids::SequenceId;
use ruvllm_core::profile::Operation;
use ruvllm_core::sequence::{Request, Task};
use support::{engine, greedy, model, request, run_all};

const MODELS: [&str; 3] = [
    "models/llama-gqa",
    "models/gemma2-softcap",
    "models/phi3-longrope",
];

/// More wanted rows than one product of the head takes, and those who want none between those who do.
fn tasks() -> Vec<Request> {
    let score = Task::Score { top_logprobs: 2 };
    let of = |length, salt, task| request(&prompt(length, salt), task);
    vec![
        of(20, 1, Task::Generate(greedy(6))),
        of(45, 2, score.clone()),
        of(17, 3, Task::Embed),
        of(33, 4, Task::Logits),
        of(9, 5, Task::Generate(greedy(6))),
        of(40, 6, Task::Embed),
        of(2, 7, score),
    ]
}

#[test]
fn tasks_of_all_kinds_together_give_what_each_gives_alone() {
    for name in MODELS {
        let model = model(name);
        let alone: Vec<_> = tasks()
            .into_iter()
            .map(|request| {
                let mut engine = engine(&model, 8);
                let id = engine.add(request).unwrap();
                run_all(&mut engine, 512).remove(&id).unwrap()
            })
            .collect();
        for prefill in [3, 16, 512] {
            let mut engine = engine(&model, 64);
            let ids: Vec<_> = tasks()
                .into_iter()
                .map(|request| engine.add(request).unwrap())
                .collect();
            let outcomes = run_all(&mut engine, prefill);
            for ((id, alone), place) in ids.iter().zip(&alone).zip(0..) {
                assert_eq!(&outcomes[id], alone, "{name}, {prefill}: task {place}");
            }
        }
    }
}

#[test]
fn the_head_is_read_for_wanted_rows_alone_and_once_for_many() {
    let model = model("models/llama-gqa");
    let calls = |requests: &[Request], prefill: usize| {
        let mut engine = engine(&model, 64);
        engine.start_profile(Arc::new(SteppedClock::default()));
        let rows = requests.iter().map(|request| PlanRow {
            sequence: engine.add(request.clone()).unwrap(),
            prefill_tokens: prefill,
        });
        let rows = rows.collect();
        engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
        let report = engine.take_profile().unwrap();
        let head = report
            .times
            .iter()
            .find(|time| time.operation == Operation::Head);
        head.map_or(0, |time| time.calls)
    };
    let generate = |salt| request(&prompt(20, salt), Task::Generate(greedy(2)));
    let several: Vec<_> = (0..5).map(generate).collect();
    assert_eq!(calls(&several, 512), 1);
    // Nothing is wanted of a prompt's beginning, nor logits where the hidden states are.
    assert_eq!(calls(&several, 19), 0);
    assert_eq!(calls(&[request(&prompt(20, 1), Task::Embed)], 512), 0);
    // 32 rows at a time; those of generations fit behind them.
    let logits = request(&prompt(64, 9), Task::Logits);
    assert_eq!(calls(std::slice::from_ref(&logits), 512), 2);
    assert_eq!(calls(&[generate(1), logits, generate(2)], 512), 3);
}

/// Numbers without a pattern, the same each time.
fn random(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

fn add_some(engine: &mut Engine, state: &mut u64, flags: &mut BTreeMap<SequenceId, CancelFlag>) {
    // Few beginnings, so that many share one; phi3's frequencies change at 16 tokens.
    let mut tokens = prompt(10 + 16 * random(state, 8), random(state, 2) as u32);
    tokens.extend(prompt(1 + random(state, 8), random(state, 50) as u32));
    let request = Request {
        adapters: vec![],
        cache_min_tokens: [None, Some(1), Some(1)][random(state, 3)],
        tenant: ["", "a"][random(state, 2)].to_owned(),
        ..request(&tokens, Task::Generate(greedy(1 + random(state, 12))))
    };
    let flag = request.cancel.clone();
    flags.insert(engine.add(request).unwrap(), flag);
}

#[test]
fn counts_are_those_of_a_recount_whatever_happens() {
    let (mut most_shared, mut most_swapped) = (0, 0);
    for name in MODELS {
        let model = model(name);
        let mut engine = engine(&model, 30);
        let (mut state, mut flags) = (7, BTreeMap::new());
        for _ in 0..300 {
            let ids: Vec<_> = engine.sequences().map(|status| status.sequence).collect();
            match random(&mut state, 8) {
                0..3 if ids.len() < 6 => add_some(&mut engine, &mut state, &mut flags),
                3 if !ids.is_empty() => {
                    let id = ids[random(&mut state, ids.len())];
                    engine.preempt(id, random(&mut state, 2) == 0).unwrap();
                }
                4 if ids.len() > 3 => flags[&ids[random(&mut state, ids.len())]].cancel(),
                5 => engine.trim(),
                _ => {}
            }
            // Not all of them: who is left out waits, and so do those who follow.
            let rows = engine
                .sequences()
                .filter(|_| random(&mut state, 4) > 0)
                .map(|status| PlanRow {
                    sequence: status.sequence,
                    prefill_tokens: 7,
                });
            let rows = rows.collect();
            engine.advance(&Plan { rows, max_steps: 2 }).unwrap();
            engine.check_invariants().unwrap();
            let in_tables: usize = engine.sequences().map(|status| status.blocks).sum();
            let held = engine.kv().held_blocks();
            assert!(
                held <= in_tables && held + engine.kv().free_blocks() <= engine.kv().total_blocks()
            );
            most_shared = most_shared.max(in_tables - held);
            most_swapped = most_swapped.max(engine.swapped_bytes());
        }
        flags.values().for_each(CancelFlag::cancel);
        run_all(&mut engine, 512);
        engine.check_invariants().unwrap();
        assert_eq!((engine.kv().held_blocks(), engine.swapped_bytes()), (0, 0));
    }
    assert!(
        most_shared > 0 && most_swapped > 0,
        "nothing was shared or set aside: {most_shared} blocks, {most_swapped} bytes"
    );
}
