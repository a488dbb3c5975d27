//! The engine on tiny reference models: alone = batched, chunked = whole, nothing leaks.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prompts.rs"]
mod prompts;
mod support;

use prompts::prompt;
use ruvllm_core::Error;
use ruvllm_core::engine::{Pause, Plan, PlanRow};
use ruvllm_core::sequence::Task;
use support::{config, engine, greedy, model, request, run_all};

const MODELS: [&str; 5] = [
    "models/llama-gqa",
    "models/gemma2-softcap",
    "models/gemma3-dual-rope",
    "models/phi3-longrope",
    "gguf/qwen3-qknorm.gguf",
];

const SCORE: Task = Task::Score { top_logprobs: 3 };

#[test]
fn alone_batched_and_chunked_give_the_same_tokens() {
    for name in MODELS {
        let model = model(name);
        let prompts: Vec<_> = [1usize, 15, 16, 17, 33, 40]
            .iter()
            .zip(0..)
            .map(|(length, salt)| prompt(*length, salt))
            .collect();
        let alone: Vec<_> = prompts
            .iter()
            .map(|tokens| {
                let mut engine = engine(&model, 32);
                let id = engine
                    .add(request(tokens, Task::Generate(greedy(12))))
                    .unwrap();
                run_all(&mut engine, 512).remove(&id).unwrap()
            })
            .collect();
        for prefill in [1, 7, 512] {
            let mut engine = engine(&model, 64);
            let ids: Vec<_> = prompts
                .iter()
                .map(|tokens| {
                    engine
                        .add(request(tokens, Task::Generate(greedy(12))))
                        .unwrap()
                })
                .collect();
            let outcomes = run_all(&mut engine, prefill);
            for (id, alone) in ids.iter().zip(&alone) {
                assert_eq!(alone.tokens.len(), 12);
                assert_eq!(
                    &outcomes[id], alone,
                    "{name}, {prefill} prompt tokens a step"
                );
            }
            assert_eq!(
                engine.kv().free_blocks(),
                engine.kv().total_blocks(),
                "{name}: blocks leaked"
            );
        }
    }
}

#[test]
fn logits_and_scores_do_not_depend_on_chunks() {
    for name in MODELS {
        let model = model(name);
        let tokens = prompt(45, 3);
        let run = |prefill: usize, task: Task| {
            let mut engine = engine(&model, 8);
            let id = engine.add(request(&tokens, task)).unwrap();
            run_all(&mut engine, prefill).remove(&id).unwrap()
        };
        let logits = run(512, Task::Logits).values;
        assert_eq!(logits.len(), 45 * 320);
        assert_eq!(logits, run(5, Task::Logits).values, "{name}");
        let scores = run(512, SCORE).scores;
        assert_eq!(scores, run(5, SCORE).scores, "{name}");
        assert_eq!(scores.len(), 44);
        for (index, (token, score)) in scores.iter().enumerate() {
            assert_eq!(*token, tokens[index + 1]);
            let row = &logits[index * 320..(index + 1) * 320];
            let total: f64 = row.iter().map(|value| f64::from(*value).exp()).sum();
            let expected = f64::from(row[*token as usize]) - total.ln();
            assert!(
                (expected - f64::from(score.logprob)).abs() < 1e-5,
                "{name} {index}: {score:?} against {expected}"
            );
            let mut ranked: Vec<u32> = (0..320).collect();
            ranked.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            let top: Vec<u32> = score.top.iter().map(|(token, _)| *token).collect();
            assert_eq!(top, ranked[..3], "{name} {index}");
        }
        let embedding = run(512, Task::Embed).values;
        let length: f32 = embedding.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5 && embedding.len() == 64);
    }
}

#[test]
fn an_evaluation_that_is_set_aside_gives_the_same() {
    let model = model("models/llama-gqa");
    for task in [Task::Logits, SCORE, Task::Embed] {
        let mut undisturbed = engine(&model, 8);
        let id = undisturbed
            .add(request(&prompt(45, 3), task.clone()))
            .unwrap();
        let expected = run_all(&mut undisturbed, 512).remove(&id).unwrap();
        for swap in [false, true] {
            let mut engine = engine(&model, 8);
            let id = engine.add(request(&prompt(45, 3), task.clone())).unwrap();
            let rows = vec![PlanRow {
                sequence: id,
                prefill_tokens: 20,
            }];
            engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
            engine.preempt(id, swap).unwrap();
            let outcome = run_all(&mut engine, 20).remove(&id).unwrap();
            assert_eq!(outcome.scores, expected.scores, "{task:?} {swap}");
            assert_eq!(outcome.reason, expected.reason);
            assert_eq!(outcome.values.len(), expected.values.len());
            // The sum behind an embedding is taken in the order of the rows, whatever the portions.
            assert_eq!(outcome.values, expected.values, "{task:?} {swap}");
        }
    }
}

#[test]
fn a_long_context_model_starts_anew_when_it_outgrows_its_training() {
    // The border is 16 tokens: what is generated across it must equal what a fresh start gives.
    let model = model("models/phi3-longrope");
    let tokens = prompt(10, 9);
    let mut across = engine(&model, 8);
    let id = across
        .add(request(&tokens, Task::Generate(greedy(20))))
        .unwrap();
    let generated = run_all(&mut across, 512).remove(&id).unwrap().tokens;
    let mut extended = tokens;
    for (index, expected) in generated.iter().enumerate() {
        let mut fresh = engine(&model, 8);
        let id = fresh
            .add(request(&extended, Task::Generate(greedy(1))))
            .unwrap();
        assert_eq!(
            run_all(&mut fresh, 512)[&id].tokens,
            [*expected],
            "token {index}"
        );
        extended.push(*expected);
    }
}

#[test]
fn end_tokens_and_limits_end_a_sequence() {
    let model = model("models/llama-gqa");
    let mut free = engine(&model, 32);
    let id = free
        .add(request(&prompt(8, 1), Task::Generate(greedy(10))))
        .unwrap();
    let ignoring = run_all(&mut free, 512).remove(&id).unwrap();
    assert_eq!(ignoring.reason, Some("length"));
    let config = ruvllm_core::engine::EngineConfig {
        max_context: 12,
        ..config(&model, 4)
    };
    // The third token that it would generate ends it here.
    let end = ignoring.tokens[2];
    let mut engine =
        ruvllm_core::engine::Engine::new(model.clone(), None, vec![end], config).unwrap();
    let mut task = greedy(10);
    task.bounds.ignore_end = false;
    let id = engine
        .add(request(&prompt(8, 1), Task::Generate(task)))
        .unwrap();
    let outcome = run_all(&mut engine, 512).remove(&id).unwrap();
    let first = ignoring
        .tokens
        .iter()
        .position(|token| *token == end)
        .unwrap();
    assert_eq!(
        (outcome.tokens.as_slice(), outcome.reason),
        (&ignoring.tokens[..first], Some("stop"))
    );
    let id = engine
        .add(request(&prompt(8, 1), Task::Generate(greedy(10))))
        .unwrap();
    let full = run_all(&mut engine, 512).remove(&id).unwrap();
    assert_eq!(
        (full.tokens.len(), full.reason),
        (4, Some("length")),
        "the context has 12 positions"
    );
}

#[test]
fn cancelling_gives_the_blocks_back() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 16);
    let request = request(&prompt(60, 2), Task::Generate(greedy(50)));
    let cancel = request.cancel.clone();
    let id = engine.add(request).unwrap();
    let plan = Plan {
        rows: vec![PlanRow {
            sequence: id,
            prefill_tokens: 16,
        }],
        max_steps: 2,
    };
    assert_eq!(engine.advance(&plan).unwrap(), Pause::Horizon);
    assert!(engine.kv().free_blocks() < 16);
    cancel.cancel();
    assert_eq!(engine.advance(&plan).unwrap(), Pause::Finished);
    assert_eq!(
        (engine.kv().free_blocks(), engine.sequences().count()),
        (16, 0)
    );
    assert_eq!(run_all(&mut engine, 1)[&id].reason, Some("cancelled"));
}

#[test]
fn an_interrupt_and_a_short_pool_pause_the_plan() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 2);
    let first = engine
        .add(request(&prompt(16, 2), Task::Generate(greedy(50))))
        .unwrap();
    let second = engine
        .add(request(&prompt(16, 3), Task::Generate(greedy(50))))
        .unwrap();
    let rows = [first, second]
        .map(|sequence| PlanRow {
            sequence,
            prefill_tokens: 512,
        })
        .to_vec();
    engine.controls().interrupt();
    let plan = Plan {
        rows,
        max_steps: 10,
    };
    assert_eq!(engine.advance(&plan).unwrap(), Pause::Interrupted);
    // Both prompts fill a block; then neither gets another.
    assert_eq!(engine.advance(&plan).unwrap(), Pause::Blocks);
}

#[test]
fn a_plan_that_names_a_sequence_twice_computes_it_once() {
    let model = model("models/llama-gqa");
    let tokens = prompt(6, 5);
    let mut twice = engine(&model, 8);
    let id = twice
        .add(request(&tokens, Task::Generate(greedy(5))))
        .unwrap();
    let rows = vec![
        PlanRow {
            sequence: id,
            prefill_tokens: 2
        };
        5
    ];
    while twice.sequences().count() > 0 {
        twice
            .advance(&Plan {
                rows: rows.clone(),
                max_steps: 1,
            })
            .unwrap();
    }
    let outcome = run_all(&mut twice, 1).remove(&id).unwrap();
    let mut once = engine(&model, 8);
    let id = once
        .add(request(&tokens, Task::Generate(greedy(5))))
        .unwrap();
    assert_eq!(outcome, run_all(&mut once, 512).remove(&id).unwrap());
}

#[test]
fn requests_that_cannot_be_served_are_refused_with_the_numbers() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 2);
    let cases = [
        (request(&[], Task::Logits), "at least one token"),
        (request(&[320], Task::Logits), "vocabulary of 320"),
        (request(&[3], SCORE), "two tokens"),
        (
            request(&[3, 4], Task::Score { top_logprobs: 21 }),
            "top_logprobs is 21; it must be between 0 and 20",
        ),
        (
            request(&prompt(513, 1), Task::Logits),
            "513 tokens; max_context = 512 allows 512 here",
        ),
        (
            request(&prompt(512, 1), Task::Generate(greedy(1))),
            "512 tokens; max_context = 512 allows 511 here",
        ),
        (
            request(&prompt(40, 1), Task::Logits),
            "needs 3 key-value blocks, the pool has 2",
        ),
        (request(&[3], Task::Generate(greedy(0))), "max_tokens = 0"),
    ];
    for (request, words) in cases {
        let error = engine.add(request).unwrap_err().to_string();
        assert!(error.contains(words), "{error} lacks '{words}'");
    }
    let mut task = greedy(3);
    task.bounds.stop = vec!["x".to_owned()];
    let error = engine.add(request(&[3], Task::Generate(task))).unwrap_err();
    assert!(matches!(error, Error::Tokenization(_)), "{error}");
}
