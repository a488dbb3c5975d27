//! A smaller model guesses: what it takes in, what comes true of it, what is kept for whom, and who waits for it.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/guessing.rs"]
mod guessing;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use guessing::{Guesses, answers_alone, collect, run_in_turns, speculation, step, vocabulary};
use ruvllm_core::engine::Engine;
use ruvllm_core::kv::KvWanted;
use ruvllm_core::model::Model;
use ruvllm_core::sampling::SamplingParams;
use ruvllm_core::sequence::{GenerateTask, Request, Task};
use ruvllm_core::speculation::Lengths;
use ruvllm_core::text::Vocabulary;
use ruvllm_kernels::KvFormat;
use support::{config, greedy, model, request};

const LLAMA: &str = "models/llama-gqa";
const OTHER: &str = "models/mistral-window";
const ROWS: usize = 64;

fn engine(target: &Arc<Model>, draft: &Arc<Model>, lengths: Lengths) -> Engine {
    let settings = config(target, ROWS);
    let mut engine = Engine::new(Arc::clone(target), None, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::Lookup, lengths));
    engine.guess_with(Arc::clone(draft), None, 1 << 20).unwrap();
    engine
}

/// A prompt of which nothing repeats, so that look-ups have nothing to say of it.
fn prompt(salt: u32) -> Vec<u32> {
    (0..30).map(|index| 3 + (index * 17 + salt) % 300).collect()
}

fn asking(prompt: &[u32], task: GenerateTask) -> Request {
    let task = GenerateTask {
        prediction: Some(Vec::new()),
        ..task
    };
    Request {
        cache_min_tokens: Some(1),
        ..request(prompt, Task::Generate(task))
    }
}

#[test]
fn a_model_that_is_the_model_itself_is_mostly_right_at_any_temperature() {
    let model = model(LLAMA);
    for temperature in [0.0, 0.7, 1.3] {
        let sampling = SamplingParams {
            temperature,
            repetition_penalty: 1.2,
            ..SamplingParams::default()
        };
        let task = GenerateTask {
            sampling: Box::new(sampling),
            seed: 11,
            ..greedy(60)
        };
        let mut engine = engine(&model, &model, Lengths::Always(4));
        engine.add(asking(&prompt(1), task)).unwrap();
        run_in_turns(&mut engine, 0);
        let counts = engine.draft_counts();
        assert!(counts.drafted > 30, "{temperature}: {counts:?}");
        // Its keys and values are of 8 bits, and penalties count what is said, not what is guessed: not all of it.
        assert!(
            counts.accepted * 10 >= counts.drafted * 7,
            "{temperature}: {counts:?}"
        );
        assert!(
            engine.steps() < 35,
            "{temperature}: {} steps",
            engine.steps()
        );
    }
}

#[test]
fn texts_go_with_their_answers_and_the_next_turn_finds_what_was_taken_in() {
    let model = model(LLAMA);
    let mut engine = engine(&model, &model, Lengths::Always(3));
    let first = prompt(3);
    let id = engine.add(asking(&first, greedy(20))).unwrap();
    let answers = run_in_turns(&mut engine, 0);
    engine.check_invariants().unwrap();
    let rows = engine.draft_rows();
    // The next turn begins with all that was said: of it little is left to take in.
    let said = [&first[..], &answers[&id].tokens, &[5, 6, 7]].concat();
    engine.add(asking(&said, greedy(1 + 2))).unwrap();
    run_in_turns(&mut engine, 0);
    let again = engine.draft_rows() - rows;
    assert!(again < 30, "{again} rows for {} tokens", said.len());
    // Another tenant finds nothing of it.
    let rows = engine.draft_rows();
    let mut others = asking(&said, greedy(1 + 2));
    others.tenant = "another".to_owned();
    engine.add(others).unwrap();
    run_in_turns(&mut engine, 0);
    assert!(engine.draft_rows() - rows >= said.len() as u64);
    // Nor does anyone once prefixes are cleared, nor of those who keep none.
    engine.clear_prefixes();
    let rows = engine.draft_rows();
    for _ in 0..2 {
        let mut secret = asking(&said, greedy(1 + 2));
        secret.cache_min_tokens = None;
        engine.add(secret).unwrap();
        run_in_turns(&mut engine, 0);
    }
    assert!(engine.draft_rows() - rows >= 2 * said.len() as u64);
    engine.check_invariants().unwrap();
}

#[test]
fn cancelled_answers_leave_nothing_behind() {
    let model = model(LLAMA);
    let mut engine = engine(&model, &model, Lengths::Always(3));
    let asked = asking(&prompt(4), greedy(200));
    let cancel = asked.cancel.clone();
    let id = engine.add(asked).unwrap();
    for _ in 0..5 {
        step(&mut engine, &[id]);
    }
    assert!(engine.draft_counts().drafted > 0);
    cancel.cancel();
    step(&mut engine, &[id]);
    let mut answers = BTreeMap::new();
    collect(&mut engine, &mut answers);
    assert_eq!(answers[&id].reason, Some("cancelled"));
    engine.check_invariants().unwrap();
    assert_eq!(engine.draft_blocks(), 0);
}

#[test]
fn a_text_that_does_not_fit_is_not_taken_in_again_and_again() {
    let model = model(LLAMA);
    let settings = config(&model, ROWS);
    let mut engine = Engine::new(Arc::clone(&model), None, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::Lookup, Lengths::Always(3)));
    let row = model
        .kv_groups(KvWanted::format(KvFormat::I8))
        .unwrap()
        .row_bytes();
    // Room for 64 tokens: the answer outgrows it.
    engine
        .guess_with(Arc::clone(&model), None, 4 * row)
        .unwrap();
    engine.add(asking(&prompt(7), greedy(200))).unwrap();
    run_in_turns(&mut engine, 0);
    assert!(engine.draft_counts().accepted > 10);
    assert!(engine.draft_rows() < 150, "{} rows", engine.draft_rows());
}

#[test]
fn what_one_conversation_has_in_common_with_another_is_left_to_it() {
    let model = model(LLAMA);
    let mut engine = engine(&model, &model, Lengths::Always(3));
    let long: Vec<u32> = (0..200)
        .map(|index| 3 + (index * 7 + index / 9) % 300)
        .collect();
    engine.add(asking(&long, greedy(1 + 4))).unwrap();
    run_in_turns(&mut engine, 0);
    let rows = engine.draft_rows();
    // Another one begins alike, and goes on elsewhere.
    let other = [&long[..40], &prompt(8)].concat();
    engine.add(asking(&other, greedy(1 + 4))).unwrap();
    run_in_turns(&mut engine, 0);
    let taken_in = engine.draft_rows() - rows;
    assert!(taken_in < 55, "{taken_in} rows, of which 32 were known");
    let rows = engine.draft_rows();
    engine.add(asking(&long, greedy(1 + 4))).unwrap();
    run_in_turns(&mut engine, 0);
    assert!(engine.draft_rows() - rows < 40);
    engine.check_invariants().unwrap();
}

#[test]
fn a_model_of_other_tokens_is_refused() {
    let model = model(LLAMA);
    let words = vocabulary(&model);
    let settings = config(&model, ROWS);
    let mut engine = Engine::new(
        Arc::clone(&model),
        Some(Arc::clone(&words)),
        vec![2],
        settings,
    )
    .unwrap();
    let refused = |engine: &mut Engine, words: Option<&Vocabulary>| {
        let draft = Arc::clone(&model);
        engine
            .guess_with(draft, words, 1 << 20)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&mut engine, None).contains("leave speculation on"));
    engine.speculate(speculation(Guesses::Lookup, Lengths::AsPays));
    let mut texts: Vec<Vec<u8>> = (0..320)
        .map(|token| words.bytes(token).unwrap().to_vec())
        .collect();
    texts[77] = b"other".to_vec();
    let other = Vocabulary::from_tokens(&texts, vec![0, 1, 2]).unwrap();
    assert!(refused(&mut engine, Some(&other)).contains("token 77"));
    // Some tokens more at the end are none that anybody says.
    texts[77] = words.bytes(77).unwrap().to_vec();
    texts.push(b"padding".to_vec());
    let padded = Vocabulary::from_tokens(&texts, vec![0, 1, 2]).unwrap();
    engine
        .guess_with(Arc::clone(&model), Some(&padded), 1 << 20)
        .unwrap();
    let nothing = engine.guess_with(Arc::clone(&model), Some(&padded), 16);
    assert!(nothing.is_err(), "no block fits");
}

#[test]
fn answers_stay_what_they_are() {
    let (target, draft) = (model(LLAMA), model(OTHER));
    let requests: Vec<_> = (0..3)
        .map(|salt| asking(&prompt(salt), greedy(50)))
        .collect();
    let alone = answers_alone(&target, config(&target, ROWS), &requests);
    let lengths = [Lengths::Always(8), Lengths::AsPays];
    for (draft, lengths) in [&target, &draft].into_iter().zip(lengths) {
        let settings = config(&target, ROWS);
        let mut engine = Engine::new(Arc::clone(&target), None, vec![2], settings).unwrap();
        engine.speculate(speculation(Guesses::Itself, lengths));
        engine.guess_with(Arc::clone(draft), None, 1 << 20).unwrap();
        let ids: Vec<_> = requests
            .iter()
            .map(|one| engine.add(one.clone()).unwrap())
            .collect();
        let answers = run_in_turns(&mut engine, 7);
        for (id, alone) in ids.iter().zip(&alone) {
            assert_eq!(answers[id].tokens, alone.tokens);
        }
        assert!(engine.draft_rows() > 0, "{lengths:?}: it was never asked");
    }
}
