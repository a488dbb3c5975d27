//! Layers with a window keep what it reaches, and so do tails in a format of their own: memory stays bounded, no token
//! changes, and what is cached is found.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

use prompts::prompt;
use ruvllm_core::engine::{Engine, Plan, PlanRow};
use ruvllm_core::ids::{SequenceId, TokenId};
use ruvllm_core::kv::KvWanted;
use ruvllm_core::model::Model;
use ruvllm_core::sequence::{Request, Task};
use ruvllm_kernels::KvFormat;
use support::{Outcome, config, greedy, model, request, run_all};

/// Windows of eight tokens over two of three layers, and over six of seven; none, but a tail; both; keys that are stored
/// without their bias.
const CASES: [(&str, KvWanted); 6] = [
    ("models/gemma2-softcap", USUAL),
    ("models/gemma3-dual-rope", USUAL),
    ("models/llama-gqa", with_tail(KvFormat::Q4, 8, KvFormat::I8)),
    ("models/llama-gqa", with_tail(KvFormat::Q3, 8, KvFormat::I8)),
    (
        "models/gemma3-dual-rope",
        with_tail(KvFormat::K8V4, 5, KvFormat::I16),
    ),
    (
        "models/qwen2-bias-tied",
        with_tail(KvFormat::Q4, 8, KvFormat::I8),
    ),
];
const USUAL: KvWanted = KvWanted {
    format: None,
    tail_tokens: None,
    tail_format: None,
};

const fn with_tail(format: KvFormat, tokens: usize, tail_format: KvFormat) -> KvWanted {
    KvWanted {
        format: Some(format),
        tail_tokens: Some(tokens),
        tail_format: Some(tail_format),
    }
}

/// An engine with room for `rows` times sixteen tokens of all layers.
fn engine(model: &Arc<Model>, kv: KvWanted, rows: usize) -> Engine {
    with_blocks(model, kv, rows * model.kv_groups(kv).unwrap().count())
}

fn cached(tokens: &[TokenId], max_tokens: usize) -> Request {
    Request {
        cache_min_tokens: Some(1),
        ..request(tokens, Task::Generate(greedy(max_tokens)))
    }
}

fn run(engine: &mut Engine, request: &Request) -> Outcome {
    let id = engine.add(request.clone()).unwrap();
    run_all(engine, 64).remove(&id).unwrap()
}

/// How many tokens of a request were found, and what came of it.
fn found(engine: &mut Engine, request: &Request) -> (usize, Outcome) {
    let id = engine.add(request.clone()).unwrap();
    let computed = engine.sequences().next().unwrap().computed_tokens;
    let outcome = run_all(engine, 64).remove(&id).unwrap();
    assert_eq!(engine.prefix_stats().pinned, 0);
    let (free, cached) = (engine.kv().free_blocks(), engine.kv().cached_blocks());
    assert_eq!(free + cached, engine.kv().total_blocks(), "a block leaked");
    (computed, outcome)
}

/// So many steps of one sequence, and tokens of its prompt in each.
fn plan(sequence: SequenceId, prefill_tokens: usize, max_steps: usize) -> Plan {
    let row = PlanRow {
        sequence,
        prefill_tokens,
    };
    Plan {
        rows: vec![row],
        max_steps,
    }
}

/// A pool of so many blocks, whatever the groups.
fn with_blocks(model: &Arc<Model>, kv: KvWanted, blocks: usize) -> Engine {
    let mut settings = config(model, 1);
    settings.kv = kv;
    settings.kv_bytes = model.kv_groups(settings.kv).unwrap().block_bytes() * blocks;
    settings.prefix.max_bytes = settings.kv_bytes;
    Engine::new(Arc::clone(model), None, vec![2], settings).unwrap()
}

/// Blocks that hold what one at `position` sees of what is before it, or one up to 64 tokens before.
fn held_before(model: &Model, kv: KvWanted, position: usize) -> usize {
    let mut held = BTreeSet::new();
    for (group, window) in model.kv_groups(kv).unwrap().windows().iter().enumerate() {
        let first = window.map_or(0, |window| (position + 1).saturating_sub(window + 64));
        held.extend((first..position).map(|seen| (group, seen / 16)));
    }
    held.len()
}

#[test]
fn a_sequence_holds_what_its_layers_see_and_no_more() {
    for (name, kv) in CASES {
        let model = model(name);
        let mut engine = engine(&model, kv, 64);
        let request = request(&prompt(150, 1), Task::Generate(greedy(100)));
        let id = engine.add(request).unwrap();
        let mut lengths = Vec::new();
        loop {
            let status = engine.sequences().next();
            let Some(status) = status else { break };
            let computed = status.computed_tokens;
            // A block that was begun and is not seen yet is there as well.
            let expected = held_before(&model, kv, computed);
            assert_eq!(status.blocks, expected, "{name}: {computed} computed");
            assert_eq!(engine.kv().held_blocks(), expected);
            lengths.push(computed);
            engine.advance(&plan(id, 23, 1)).unwrap();
            engine.check_invariants().unwrap();
        }
        assert!(lengths.contains(&23) && lengths.contains(&248));
        assert_eq!(engine.kv().free_blocks(), engine.kv().total_blocks());
    }
}

#[test]
fn a_pool_that_holds_the_windows_is_enough_and_gives_the_same_tokens() {
    for (name, kv) in CASES {
        let model = model(name);
        let groups = model.kv_groups(kv).unwrap();
        let request = request(&prompt(300, 1), Task::Generate(greedy(60)));
        let expected = run(&mut engine(&model, kv, 64), &request);
        // 23 rows of what sees all, and of the others what is seen beside the part of the prompt that fits.
        let blocks = groups.least_blocks(360) + 2 * groups.count();
        assert!(10 * blocks < 23 * groups.count() * 7, "{blocks}");
        let mut small = with_blocks(&model, kv, blocks);
        assert_eq!(run(&mut small, &request), expected, "{name}");
        // One less than what the last token needs is refused before anything is computed.
        let mut smaller = with_blocks(&model, kv, groups.least_blocks(301) - 1);
        let error = smaller.add(request).unwrap_err().to_string();
        assert!(error.contains("key-value blocks"), "{error}");
    }
}

#[test]
fn what_windows_have_passed_is_found_while_there_is_room_and_the_ends_of_texts_longer() {
    for (name, kv) in CASES {
        let model = model(name);
        let groups = model.kv_groups(kv).unwrap();
        let long = prompt(200, 1);
        let first = cached(&long, 4);
        let leaves = |at: usize| {
            let mut tokens = long[..at].to_vec();
            tokens.extend(prompt(10, 2));
            cached(&tokens, 4)
        };
        let mut fresh = engine(&model, kv, 64);
        let alone = |request: &Request, fresh: &mut Engine| {
            let without = Request {
                cache_min_tokens: None,
                ..request.clone()
            };
            run(fresh, &without)
        };
        let mut warm = with_blocks(&model, kv, 64 * groups.count());
        run(&mut warm, &first);
        // There is room: whoever leaves the text anywhere goes on there.
        for at in [100, 37, 183] {
            let request = leaves(at);
            let (computed, outcome) = found(&mut warm, &request);
            assert_eq!(computed, at, "{name}");
            assert_eq!(outcome, alone(&request, &mut fresh), "{name}");
        }
        // A text that needs all but what the first one's end does.
        let mut tight = with_blocks(&model, kv, 20 * groups.count());
        run(&mut tight, &first);
        let cached_before = tight.kv().cached_blocks();
        run(
            &mut tight,
            &request(&prompt(90, 3), Task::Generate(greedy(4))),
        );
        assert!(
            tight.kv().cached_blocks() < cached_before,
            "{name}: nothing had to go"
        );
        let (computed, outcome) = found(&mut tight, &first);
        assert_eq!(computed, 199, "{name}: its end stayed");
        assert_eq!(outcome, alone(&first, &mut fresh), "{name}");
        // In its middle it cannot be gone on with, until somebody computes that anew.
        let request = leaves(100);
        let (computed, outcome) = found(&mut tight, &request);
        assert!(computed < 100, "{name}: {computed}");
        assert_eq!(outcome, alone(&request, &mut fresh), "{name}");
        let (computed, outcome) = found(&mut tight, &request);
        assert_eq!(computed, 109, "{name}: it came back");
        assert_eq!(outcome, alone(&request, &mut fresh), "{name}");
    }
}

#[test]
fn what_is_set_aside_or_saved_is_what_windows_reach() {
    for (name, kv) in CASES {
        let model = model(name);
        let request = cached(&prompt(120, 1), 40);
        let expected = run(&mut engine(&model, kv, 64), &request);

        let mut swapping = engine(&model, kv, 64);
        let id = swapping.add(request.clone()).unwrap();
        swapping.advance(&plan(id, 64, 20)).unwrap();
        let status = swapping.sequences().next().unwrap();
        let bytes = held_before(&model, kv, status.computed_tokens) * swapping.kv().block_bytes();
        swapping.preempt(id, true).unwrap();
        assert_eq!(swapping.swapped_bytes(), bytes, "{name}");
        swapping.check_invariants().unwrap();
        let outcome = run_all(&mut swapping, 64).remove(&id).unwrap();
        assert_eq!(outcome, expected, "{name}");

        let mut snapshot = swapping.snapshot_prefixes("tiny");
        let mut file = Vec::new();
        loop {
            let piece = swapping.next_piece(&mut snapshot, 1000);
            if piece.is_empty() {
                break;
            }
            file.extend(piece);
        }
        let mut after = engine(&model, kv, 64);
        let loaded = after
            .load_prefixes("tiny", &mut Cursor::new(&file))
            .unwrap();
        assert!(loaded.loaded_nodes == loaded.nodes && loaded.nodes > 0);
        assert_eq!(after.kv().cached_blocks(), swapping.kv().cached_blocks());
        let (computed, outcome) = found(&mut after, &request);
        assert_eq!((computed, outcome), (119, expected), "{name}");
        // Nor is it another model's, whose layers see something else.
        let mut other = support::engine(&support::model("models/mistral-window"), 64);
        assert!(
            other
                .load_prefixes("tiny", &mut Cursor::new(&file))
                .is_err()
        );
    }
}

/// The logits of a text, in a cache of its own.
fn logits(model: &Arc<Model>, kv: KvWanted, tokens: &[TokenId]) -> Vec<f32> {
    run(&mut engine(model, kv, 32), &request(tokens, Task::Logits)).values
}

#[test]
fn a_tail_is_what_is_read_of_the_last_tokens_and_the_store_of_all_others() {
    let model = model("models/llama-gqa");
    let tokens = prompt(130, 1);
    let of = |kv| logits(&model, kv, &tokens);
    let tailed = |tokens| with_tail(KvFormat::Q4, tokens, KvFormat::I8);
    let bytes = of(KvWanted::format(KvFormat::I8));
    // Nothing is old enough for the store, and all of it is.
    assert_eq!(of(tailed(200)), bytes);
    let short = of(tailed(50));
    let halves = of(KvWanted {
        tail_format: None,
        ..tailed(0)
    });
    // As long as nothing left the tail there is no difference; from then on there is, and it is less than without.
    let width = bytes.len() / tokens.len();
    assert_eq!(short[..50 * width], bytes[..50 * width]);
    let error = |some: &[f32]| -> f32 {
        let pairs = some.iter().zip(&bytes);
        pairs.map(|(a, b)| (a - b).abs()).sum()
    };
    assert!(error(&short) > 0.0 && 2.0 * error(&short) < error(&halves));
    // How the tail is kept matters, too.
    assert_ne!(of(with_tail(KvFormat::Q4, 50, KvFormat::F32)), short);
}

/// What each sequence has, by its id.
fn computed(engine: &Engine) -> Vec<usize> {
    engine
        .sequences()
        .map(|status| status.computed_tokens)
        .collect()
}

#[test]
fn what_is_found_with_gaps_is_set_aside_and_taken_up_with_them() {
    for (name, kv) in CASES {
        let model = model(name);
        let long = prompt(200, 1);
        // Leaves the text so far before its end that the last of the held rows are not there.
        let mut leaving = long[..150].to_vec();
        leaving.extend(prompt(10, 2));
        let leaving = cached(&leaving, 30);
        let expected = run(&mut engine(&model, kv, 64), &leaving);
        let mut tight = with_blocks(&model, kv, 20 * model.kv_groups(kv).unwrap().count());
        run(&mut tight, &cached(&long, 4));
        run(
            &mut tight,
            &request(&prompt(90, 3), Task::Generate(greedy(4))),
        );
        let id = tight.add(leaving).unwrap();
        tight.advance(&plan(id, 64, 4)).unwrap();
        let before = computed(&tight);
        tight.preempt(id, true).unwrap();
        assert!(tight.swapped_bytes() > 0);
        // It is told how far it is while it waits, and goes on from there.
        assert_eq!(computed(&tight), before, "{name}");
        tight.check_invariants().unwrap();
        let outcome = run_all(&mut tight, 64).remove(&id).unwrap();
        assert_eq!(outcome, expected, "{name}");
        assert_eq!(tight.swapped_bytes(), 0);
    }
}
