//! An engine over a tape: it says what the model said, whatever is cached, set aside or guessed meanwhile. Each step sees
//! whether the blocks that it is given are of one text, and of the one that was written into them.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/guessing.rs"]
mod guessing;
#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex};

use guessing::{Answer, Guesses, run_in_turns, speculation};
use prompts::prompt;
use ruvllm_core::engine::{Engine, EngineConfig};
use ruvllm_core::ids::SequenceId;
use ruvllm_core::kv::KvWanted;
use ruvllm_core::model::{ActivationPrecision, LoadOptions, Model};
use ruvllm_core::replay::Tape;
use ruvllm_core::sequence::{Request, Task};
use ruvllm_core::speculation::Lengths;
use ruvllm_kernels::KvFormat;
use support::{config, greedy, model, request};

/// All layers see all; two of three see eight tokens; a tail in a format of its own.
const CASES: [(&str, KvWanted); 3] = [
    ("models/llama-gqa", USUAL),
    ("models/gemma2-softcap", USUAL),
    (
        "models/llama-gqa",
        KvWanted {
            format: Some(KvFormat::Q4),
            tail_tokens: Some(8),
            tail_format: Some(KvFormat::I8),
        },
    ),
];
const USUAL: KvWanted = KvWanted {
    format: None,
    tail_tokens: None,
    tail_format: None,
};

/// Room for so many times sixteen tokens of all layers.
fn settings(model: &Model, kv: KvWanted, rows: usize) -> EngineConfig {
    let kv_bytes = model.kv_groups(kv).unwrap().row_bytes() * rows;
    let mut config = config(model, rows);
    (config.kv, config.kv_bytes, config.prefix.max_bytes) = (kv, kv_bytes, kv_bytes);
    config
}

fn replaying(model: &Model, tape: &Arc<Mutex<Tape>>, config: EngineConfig) -> Engine {
    let options = LoadOptions::new(ruvllm_kernels::best(), Some(2), ActivationPrecision::Auto);
    let words = (None, vec![2]);
    Engine::replaying(
        Arc::clone(model.header()),
        Arc::clone(tape),
        &options,
        words,
        config,
    )
    .unwrap()
}

/// Texts that begin alike, some likeliest tokens and some drawn.
fn requests() -> Vec<Request> {
    let text = |index: u32| {
        let mut tokens = prompt(20 + 9 * index as usize, index % 3);
        tokens.extend(prompt(5, 10 + index));
        let mut task = greedy(12 + index as usize);
        task.seed = u64::from(index);
        task.sampling.logprobs = Some(3);
        if index % 2 == 1 {
            task.sampling.temperature = 0.9;
            task.sampling.top_k = 0;
        }
        request(&tokens, Task::Generate(task))
    };
    (0..9).map(text).collect()
}

fn cached(request: Request) -> Request {
    Request {
        cache_min_tokens: Some(1),
        ..request
    }
}

fn add_all(engine: &mut Engine, requests: impl IntoIterator<Item = Request>) -> Vec<SequenceId> {
    let added = requests.into_iter().map(|one| engine.add(one).unwrap());
    added.collect()
}

fn in_order(ids: &[SequenceId], mut answers: BTreeMap<SequenceId, Answer>) -> Vec<Answer> {
    ids.iter().map(|id| answers.remove(id).unwrap()).collect()
}

#[test]
fn a_replay_says_what_was_recorded_whatever_is_cached_set_aside_or_guessed() {
    for (name, kv) in CASES {
        let model = model(name);
        let tape = Arc::new(Mutex::new(Tape::new(usize::MAX)));
        let roomy = settings(&model, kv, 64);
        let recorded = Engine::new(Arc::clone(&model), None, vec![2], roomy).unwrap();
        let mut recorded = recorded.recorded_on(Arc::clone(&tape));
        let ids = add_all(&mut recorded, requests());
        let expected = in_order(&ids, run_in_turns(&mut recorded, 3));
        assert!(tape.lock().unwrap().len() > 100);
        for seed in 0..12 {
            let rows = if seed % 2 == 0 { 64 } else { 18 };
            let mut replayed = replaying(&model, &tape, settings(&model, kv, rows));
            if seed % 3 == 0 {
                replayed.speculate(speculation(Guesses::Lookup, Lengths::AsPays));
            }
            let ids = add_all(&mut replayed, requests().into_iter().map(cached));
            let answers = in_order(&ids, run_in_turns(&mut replayed, seed));
            assert_eq!(answers, expected, "{name}, seed {seed}");
            replayed.clear_prefixes();
            assert_eq!(
                replayed.kv().free_blocks(),
                replayed.kv().total_blocks(),
                "{name}"
            );
        }
    }
}

#[test]
fn prefixes_that_were_saved_hold_their_texts() {
    for (name, kv) in CASES {
        let model = model(name);
        let tape = Arc::new(Mutex::new(Tape::invented(1)));
        let mut before = replaying(&model, &tape, settings(&model, kv, 64));
        let ids = add_all(&mut before, requests().into_iter().map(cached));
        let expected = in_order(&ids, run_in_turns(&mut before, 0));
        let mut snapshot = before.snapshot_prefixes("m");
        let mut file = Vec::new();
        loop {
            let piece = before.next_piece(&mut snapshot, 1000);
            if piece.is_empty() {
                break;
            }
            file.extend(piece);
        }
        let mut after = replaying(&model, &tape, settings(&model, kv, 64));
        let loaded = after.load_prefixes("m", &mut Cursor::new(&file)).unwrap();
        assert!(loaded.loaded_tokens > 0);
        let ids = add_all(&mut after, requests().into_iter().map(cached));
        assert!(after.sequences().all(|status| status.computed_tokens > 0));
        let answers = in_order(&ids, run_in_turns(&mut after, 0));
        assert_eq!(answers, expected, "{name}");
    }
}

/// Many more requests than any model could answer here, each with the answer that it has alone.
#[test]
fn what_is_invented_is_the_same_alone_and_among_a_thousand() {
    let model = model("models/gemma2-softcap");
    let tape = Arc::new(Mutex::new(Tape::invented(7)));
    let of = |index: u32| {
        let tokens = [
            prompt(3 + 8 * (index as usize % 37), index % 11),
            prompt(4, index),
        ];
        let mut task = greedy(1 + index as usize % 9);
        (task.seed, task.sampling.temperature) = (u64::from(index), 0.7);
        cached(request(&tokens.concat(), Task::Generate(task)))
    };
    let requests: Vec<_> = (0..1000).map(of).collect();
    let mut alone = replaying(&model, &tape, settings(&model, USUAL, 64));
    let mut among = replaying(&model, &tape, settings(&model, USUAL, 400));
    let mut answers = BTreeMap::new();
    let mut ids = Vec::new();
    for (round, some) in requests.chunks(25).enumerate() {
        ids.extend(add_all(&mut among, some.iter().cloned()));
        answers.extend(run_in_turns(&mut among, 1 + round as u64));
    }
    for (request, id) in requests.iter().zip(ids) {
        let request = Request {
            cache_min_tokens: None,
            ..request.clone()
        };
        let own = alone.add(request).unwrap();
        assert_eq!(run_in_turns(&mut alone, 0)[&own], answers[&id]);
    }
    let stats = among.prefix_stats();
    assert!(
        3 * stats.reused_tokens > 2 * stats.lookup_tokens,
        "{stats:?}"
    );
}

/// Long texts are computed anew under other frequencies once they outgrow what the model was made for.
#[test]
fn what_outgrows_a_context_is_of_another_text() {
    let model = model("models/phi3-longrope");
    let tape = Arc::new(Mutex::new(Tape::invented(1)));
    let long = prompt(300, 1);
    let border =
        (1..300).find(|length| model.spec().rope_regimes(*length) != model.spec().rope_regimes(1));
    let border = border.expect("its frequencies change");
    let of = |length: usize| cached(request(&long[..length], Task::Generate(greedy(20))));
    let mut engine = replaying(&model, &tape, settings(&model, USUAL, 80));
    for length in [border - 10, border + 5, border - 9, border + 30] {
        let id = engine.add(of(length)).unwrap();
        let answer = run_in_turns(&mut engine, 0).remove(&id).unwrap();
        let mut alone = replaying(&model, &tape, settings(&model, USUAL, 80));
        let id = alone.add(of(length)).unwrap();
        assert_eq!(run_in_turns(&mut alone, 0).remove(&id).unwrap(), answer);
    }
}

#[test]
fn a_text_that_was_not_recorded_fails_alone() {
    let model = model("models/llama-gqa");
    let tape = Arc::new(Mutex::new(Tape::new(usize::MAX)));
    let roomy = settings(&model, USUAL, 64);
    let recorded = Engine::new(Arc::clone(&model), None, vec![2], roomy).unwrap();
    let mut recorded = recorded.recorded_on(Arc::clone(&tape));
    let known = request(&prompt(9, 1), Task::Generate(greedy(5)));
    let id = recorded.add(known.clone()).unwrap();
    let expected = run_in_turns(&mut recorded, 0).remove(&id).unwrap();
    let mut engine = replaying(&model, &tape, roomy);
    let unknown = request(&prompt(5, 2), Task::Generate(greedy(2)));
    let ids = add_all(&mut engine, [unknown, known]);
    let mut answers = run_in_turns(&mut engine, 0);
    assert_eq!(answers.remove(&ids[1]), Some(expected));
    let error = answers.remove(&ids[0]).unwrap().error.unwrap();
    assert!(error.contains("no token"), "{error}");
}

/// What it did not hear from the beginning it does not keep, rather than under another text's name.
#[test]
fn a_recorder_leaves_out_what_came_out_of_a_cache() {
    let model = model("models/llama-gqa");
    let tape = Arc::new(Mutex::new(Tape::new(usize::MAX)));
    let engine = Engine::new(
        Arc::clone(&model),
        None,
        vec![2],
        settings(&model, USUAL, 64),
    );
    let mut engine = engine.unwrap().recorded_on(Arc::clone(&tape));
    for (rows, text) in [
        (8, prompt(40, 1)),
        (8, [prompt(40, 1), prompt(9, 2)].concat()),
    ] {
        engine
            .add(cached(request(&text, Task::Generate(greedy(8)))))
            .unwrap();
        run_in_turns(&mut engine, 0);
        assert_eq!(tape.lock().unwrap().len(), rows);
    }
}
