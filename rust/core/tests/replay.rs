//! An engine over a tape: it says what the model said, whatever is cached, set aside or guessed meanwhile, and every step
//! checks that the blocks it is given hold the text that they should.
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
use ruvllm_core::engine::{Engine, EngineConfig, Plan, PlanRow};
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
    let options = LoadOptions::new(ruvllm_kernels::best(), ActivationPrecision::Auto);
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

#[test]
fn a_text_that_was_not_recorded_is_an_error() {
    let model = model("models/llama-gqa");
    let tape = Arc::new(Mutex::new(Tape::new(8)));
    let mut engine = replaying(&model, &tape, settings(&model, USUAL, 8));
    let id = engine
        .add(request(&prompt(5, 1), Task::Generate(greedy(2))))
        .unwrap();
    let row = PlanRow {
        sequence: id,
        prefill_tokens: 64,
    };
    let plan = Plan {
        rows: vec![row],
        max_steps: 1,
    };
    let error = engine.advance(&plan).unwrap_err().to_string();
    assert!(error.contains("must have been recorded"), "{error}");
}
