//! Candidates at places of a prompt: the same numbers as whole logits give, and nothing computed twice.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod support;

use ruvllm_core::sequence::{Request, Task};
use support::{engine, greedy, model, request, run_all};

const MODELS: [&str; 3] = [
    "models/llama-gqa",
    "models/gemma2-softcap",
    "models/phi3-longrope",
];
const BEGINNING: usize = 70;

fn tokens(salt: u32) -> Vec<u32> {
    let beginning = (0..BEGINNING as u32).map(|index| 3 + index * 37 % 300);
    let end = (0..9).map(|index| 3 + (index * 41 + salt * 101) % 300);
    beginning.chain(end).collect()
}

fn asked(salt: u32) -> Request {
    let places = vec![(74, vec![5, 9]), (78, vec![300, 7, 11])];
    let mut asked = request(&tokens(salt), Task::candidates(places, BEGINNING));
    asked.cache_min_tokens = Some(1);
    asked
}

/// By hand, in f64, from all logits.
fn by_hand(logits: &[f32], width: usize, salt: u32) -> Vec<f64> {
    let Task::Candidates(candidates) = asked(salt).task else {
        unreachable!()
    };
    let mut found = Vec::new();
    for place in candidates.places {
        let row = &logits[place.after * width..(place.after + 1) * width];
        let total: f64 = row.iter().map(|one| f64::from(*one).exp()).sum();
        let logs = place.tokens.iter();
        found.extend(logs.map(|token| f64::from(row[*token as usize]) - total.ln()));
    }
    found
}

#[test]
fn they_are_as_likely_as_the_logits_say_alone_and_together() {
    for name in MODELS {
        let model = model(name);
        for prefill in [5, 512] {
            let mut together = engine(&model, 64);
            let ids: Vec<_> = (0..4)
                .map(|salt| together.add(asked(salt)).unwrap())
                .collect();
            let beside = request(&tokens(9), Task::Generate(greedy(6)));
            together.add(beside).unwrap();
            let found = run_all(&mut together, prefill);
            together.check_invariants().unwrap();
            for (salt, id) in ids.into_iter().enumerate() {
                let salt = salt as u32;
                let mut alone = engine(&model, 64);
                let whole = alone.add(request(&tokens(salt), Task::Logits)).unwrap();
                let logits = run_all(&mut alone, 512).remove(&whole).unwrap().values;
                let expected = by_hand(&logits, model.spec().vocab_size, salt);
                let values = &found[&id].values;
                assert_eq!(values.len(), expected.len(), "{name}");
                for (value, expected) in values.iter().zip(expected) {
                    assert!((f64::from(*value) - expected).abs() < 1e-4, "{name}");
                }
            }
        }
    }
}

#[test]
fn what_they_share_is_computed_once_and_alone_is_kept() {
    let model = model(MODELS[0]);
    let mut engine = engine(&model, 64);
    for salt in 0..4 {
        engine.add(asked(salt)).unwrap();
    }
    run_all(&mut engine, 512);
    assert_eq!(engine.rows(), (BEGINNING + 4 * 9) as u64);
    assert_eq!(engine.prefix_stats().tokens, BEGINNING);
    engine.add(asked(0)).unwrap();
    run_all(&mut engine, 512);
    assert_eq!(engine.rows(), (BEGINNING + 5 * 9) as u64);
    engine.check_invariants().unwrap();
}

#[test]
fn those_that_are_set_aside_are_measured_all_the_same() {
    let model = model(MODELS[0]);
    let alone = {
        let mut engine = engine(&model, 64);
        let id = engine.add(asked(1)).unwrap();
        run_all(&mut engine, 512).remove(&id).unwrap().values
    };
    for swap in [false, true] {
        let mut engine = engine(&model, 64);
        let id = engine.add(asked(1)).unwrap();
        for _ in 0..2 {
            let row = ruvllm_core::engine::PlanRow {
                sequence: id,
                prefill_tokens: 38,
            };
            let plan = ruvllm_core::engine::Plan {
                rows: vec![row],
                max_steps: 1,
            };
            engine.advance(&plan).unwrap();
            engine.preempt(id, swap).unwrap();
        }
        let values = run_all(&mut engine, 512).remove(&id).unwrap().values;
        assert_eq!(values, alone, "swap: {swap}");
    }
}

#[test]
fn places_that_are_none_are_refused() {
    let model = model(MODELS[0]);
    let mut engine = engine(&model, 64);
    let refusals = [
        (Vec::new(), "at one place at least"),
        (vec![(79, vec![3])], "after tokens 0 to 78"),
        (vec![(7, vec![3]), (7, vec![4])], "in rising order"),
        (vec![(7, vec![])], "no candidate after token 7"),
        (vec![(7, vec![320])], "candidate 320 is outside"),
    ];
    for (places, message) in refusals {
        let error = engine
            .add(request(&tokens(0), Task::candidates(places, 0)))
            .unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}
