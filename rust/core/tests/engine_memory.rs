//! The same tokens whatever memory does: cached, partly cached, evicted, set aside, loaded from disk.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use prompts::prompt;
use ruvllm_core::engine::{Controls, Engine, Plan, PlanRow};
use ruvllm_core::events::{Event, Usage};
use ruvllm_core::ids::{SequenceId, TokenId};
use ruvllm_core::model::Model;
use ruvllm_core::sequence::{GenerateTask, Request, Task};
use support::{Outcome, engine, greedy, model, request, run_all, run_rows};

const MODELS: [&str; 4] = [
    "models/llama-gqa",
    "models/gemma3-dual-rope",
    "models/phi3-longrope",
    "gguf/qwen3-qknorm.gguf",
];

/// `shared` tokens that all have in common, then others.
fn branch(shared: usize, own: usize, salt: u32) -> Vec<TokenId> {
    let mut tokens = prompt(shared, 0);
    tokens.extend(prompt(own, salt));
    tokens
}

fn cached(tokens: &[TokenId], max_tokens: usize) -> Request {
    Request {
        adapters: vec![],
        cache_min_tokens: Some(1),
        ..request(tokens, Task::Generate(greedy(max_tokens)))
    }
}

fn drawn(seed: u64, max_tokens: usize) -> GenerateTask {
    let mut task = greedy(max_tokens);
    task.sampling.temperature = 1.0;
    task.seed = seed;
    task
}

/// What an engine of its own gives, without a cache.
fn alone(model: &Arc<Model>, request: &Request) -> Outcome {
    let mut engine = engine(model, 64);
    let id = engine
        .add(Request {
            adapters: vec![],
            cache_min_tokens: None,
            ..request.clone()
        })
        .unwrap();
    run_all(&mut engine, 512).remove(&id).unwrap()
}

/// What each sequence that ended took, in order of their ids.
fn finished(controls: &Controls) -> Vec<Usage> {
    let events = controls.events().take().into_iter();
    let mut usages: Vec<_> = events
        .filter_map(|event| match event {
            Event::Finished {
                sequence, usage, ..
            } => Some((sequence, usage)),
            _ => None,
        })
        .collect();
    usages.sort_by_key(|(sequence, _)| *sequence);
    usages.into_iter().map(|(_, usage)| usage).collect()
}

fn check(engine: &Engine) {
    assert_eq!(engine.prefix_stats().pinned, 0, "a pin was left");
    let (free, total) = (engine.kv().free_blocks(), engine.kv().total_blocks());
    assert_eq!(free + engine.kv().cached_blocks(), total, "a block leaked");
    engine.check_invariants().unwrap();
}

#[test]
fn cached_and_partly_cached_prompts_give_the_tokens_of_fresh_ones() {
    for name in MODELS {
        let model = model(name);
        let mut warm = engine(&model, 64);
        // Whole blocks, parts of blocks, one inside the other, and twice the same.
        let prompts = [(32, 5), (32, 5), (20, 9), (33, 1), (7, 20), (40, 1)];
        for (index, (shared, own)) in prompts.iter().enumerate() {
            for task in [greedy(8), drawn(7, 8)] {
                let tokens = branch(*shared, *own, index as u32 / 2 + 1);
                let mut request = cached(&tokens, 8);
                request.task = Task::Generate(task);
                let id = warm.add(request.clone()).unwrap();
                let outcome = run_all(&mut warm, 512).remove(&id).unwrap();
                assert_eq!(outcome, alone(&model, &request), "{name}: prompt {index}");
                check(&warm);
            }
        }
        let stats = warm.prefix_stats();
        assert!(
            stats.hits > 0 && stats.partial_hits > 0,
            "{name}: {stats:?}"
        );
        assert_eq!(
            stats.lookups,
            stats.hits + stats.partial_hits + stats.misses
        );
    }
}

#[test]
fn only_what_is_new_of_a_conversation_is_computed() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 64);
    let mut tokens = prompt(21, 1);
    for turn in 0..5 {
        let id = engine.add(cached(&tokens, 6)).unwrap();
        let status = engine.sequences().next().unwrap();
        if turn > 0 {
            // All but the new message and the answer's last token, which was never run.
            assert_eq!(status.computed_tokens, tokens.len() - 5);
        }
        let outcome = run_all(&mut engine, 512).remove(&id).unwrap();
        tokens.extend(&outcome.tokens);
        tokens.extend(prompt(4, turn + 10));
    }
    check(&engine);
}

#[test]
fn sequences_that_begin_alike_at_the_same_time_compute_it_once() {
    let model = model("models/llama-gqa");
    let prompts: Vec<_> = (0..6).map(|salt| branch(50, 9, salt + 1)).collect();
    let mut engine = engine(&model, 128);
    let ids: Vec<_> = prompts
        .iter()
        .map(|tokens| engine.add(cached(tokens, 8)).unwrap())
        .collect();
    let outcomes = run_all(&mut engine, 16);
    for (id, tokens) in ids.iter().zip(&prompts) {
        assert_eq!(outcomes[id], alone(&model, &cached(tokens, 8)));
    }
    let stats = engine.prefix_stats();
    assert!(stats.reused_tokens >= 5 * 50, "{stats:?}");
    check(&engine);
}

#[test]
fn a_leader_that_is_cancelled_leaves_its_followers_whole() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 128);
    let leader = cached(&branch(60, 3, 1), 8);
    let follower = cached(&branch(60, 5, 2), 8);
    engine.add(leader.clone()).unwrap();
    let id = engine.add(follower.clone()).unwrap();
    let rows = engine.sequences().map(|status| PlanRow {
        sequence: status.sequence,
        prefill_tokens: 10,
    });
    let rows = rows.collect();
    engine.advance(&Plan { rows, max_steps: 2 }).unwrap();
    leader.cancel.cancel();
    let outcome = run_all(&mut engine, 16).remove(&id).unwrap();
    assert_eq!(outcome, alone(&model, &follower));
    // What the leader had computed was not lost.
    assert!(engine.prefix_stats().reused_tokens >= 20);
    check(&engine);
}

#[test]
fn who_follows_one_that_is_not_planned_computes_for_itself() {
    for name in MODELS {
        let model = model(name);
        let mut engine = engine(&model, 64);
        let leader = engine.add(cached(&branch(100, 40, 1), 4)).unwrap();
        let request = cached(&branch(100, 40, 2), 4);
        let plan = |sequence, max_steps| Plan {
            rows: vec![PlanRow {
                sequence,
                prefill_tokens: 16,
            }],
            max_steps,
        };
        engine.advance(&plan(leader, 1)).unwrap();
        let follower = engine.add(request.clone()).unwrap();
        // Nobody names the leader any more; ten steps are enough for what both have in common, and the rest.
        engine.advance(&plan(follower, 20)).unwrap();
        let status: Vec<_> = engine.sequences().collect();
        assert_eq!(status.len(), 1, "{name}: {status:?}");
        let outcome = support::outcomes(&engine).remove(&follower).unwrap();
        assert_eq!(outcome, alone(&model, &request), "{name}");
        engine.check_invariants().unwrap();
    }
}

/// How far each of some requests is after two steps of 8 prompt tokens; a follower stands still.
fn computed_after_two_steps(engine: &mut Engine, requests: &[Request]) -> Vec<usize> {
    let ids: Vec<_> = requests
        .iter()
        .map(|request| engine.add(request.clone()).unwrap())
        .collect();
    let rows = ids.iter().map(|id| PlanRow {
        sequence: *id,
        prefill_tokens: 8,
    });
    let rows = rows.collect();
    engine.advance(&Plan { rows, max_steps: 2 }).unwrap();
    let computed = |id| {
        engine
            .sequences()
            .find(|status| status.sequence == id)
            .map_or(usize::MAX, |status| status.computed_tokens)
    };
    ids.into_iter().map(computed).collect()
}

#[test]
fn nobody_follows_into_another_namespace() {
    let model = model("models/phi3-longrope");
    // Beyond 16 tokens its frequencies are others: a namespace of its own, for the same tenant.
    let (short, long) = (cached(&prompt(16, 0), 20), cached(&branch(16, 8, 1), 8));
    let longer = cached(&branch(20, 9, 2), 8);
    let other_tenant = Request {
        tenant: "other".to_owned(),
        ..longer.clone()
    };
    let after = |requests: &[Request]| {
        let mut engine = engine(&model, 64);
        let computed = computed_after_two_steps(&mut engine, requests);
        let outcomes = run_all(&mut engine, 8);
        for (outcome, request) in outcomes.values().zip(requests) {
            assert_eq!(*outcome, alone(&model, request));
        }
        check(&engine);
        computed
    };
    assert_eq!(after(&[longer.clone(), long.clone()]), [16, 0], "the same");
    assert_eq!(after(&[long.clone(), other_tenant]), [16, 16]);
    assert_eq!(after(&[short, long]), [16, 16], "other frequencies");
}

#[test]
fn prefixes_give_way_to_sequences_and_eviction_changes_no_token() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 12);
    for salt in 0..12 {
        let request = cached(&prompt(50, salt), 8);
        let id = engine.add(request.clone()).unwrap();
        let outcome = run_all(&mut engine, 512).remove(&id).unwrap();
        assert_eq!(outcome, alone(&model, &request));
        check(&engine);
    }
    let stats = engine.prefix_stats();
    assert!(stats.evictions > 0 && stats.memory_bytes > 0, "{stats:?}");
    // The first was evicted, and the cache knows that it was.
    engine.add(cached(&prompt(50, 0), 8)).unwrap();
    run_all(&mut engine, 512);
    assert_eq!(engine.prefix_stats().miss_reasons[2], 1);
    engine.clear_prefixes();
    assert_eq!(engine.kv().free_blocks(), 12);
    assert_eq!(engine.kv().pages().stats().used_pages, [0, 0, 0]);
}

#[test]
fn a_prefix_that_a_sequence_found_is_no_block_that_it_goes_without() {
    let model = model("models/llama-gqa");
    // Of 24 tokens the second block is copied, and its original stays. Three blocks hold 48 tokens.
    let mut alone_in_it = engine(&model, 3);
    for request in [cached(&prompt(24, 1), 1), cached(&prompt(24, 1), 20)] {
        let id = alone_in_it.add(request.clone()).unwrap();
        let outcome = run_all(&mut alone_in_it, 512).remove(&id).unwrap();
        assert_eq!(outcome, alone(&model, &request));
        check(&alone_in_it);
    }
    // Two who found the same, with a copy each, fill four blocks, and then each wants one more: one goes on
    // until it ends, then the other.
    let mut both_in_it = engine(&model, 4);
    both_in_it.add(cached(&prompt(24, 1), 1)).unwrap();
    run_all(&mut both_in_it, 512);
    let tasks = [cached(&prompt(24, 1), 20), cached(&prompt(24, 1), 21)];
    for request in &tasks {
        both_in_it.add(request.clone()).unwrap();
    }
    let controls = both_in_it.controls();
    let mut ended = 0;
    for _ in 0..200 {
        let sequences = both_in_it.sequences();
        let rows = sequences.map(|status| PlanRow {
            sequence: status.sequence,
            prefill_tokens: 512,
        });
        let rows: Vec<_> = rows.collect();
        if rows.is_empty() {
            break;
        }
        both_in_it.advance(&Plan { rows, max_steps: 8 }).unwrap();
        ended += finished(&controls).len();
    }
    assert_eq!(ended, tasks.len(), "nobody gives way to anybody");
    check(&both_in_it);
}

#[test]
fn what_a_request_computed_itself_does_not_count_as_cached() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 64);
    let id = engine.add(cached(&prompt(60, 1), 4)).unwrap();
    let rows = vec![PlanRow {
        sequence: id,
        prefill_tokens: 40,
    }];
    engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
    engine.preempt(id, false).unwrap();
    engine.add(cached(&prompt(5, 2), 4)).unwrap();
    let controls = engine.controls();
    run_rows(&mut engine, 512);
    let usage = finished(&controls);
    assert_eq!(
        (usage[0].cached_tokens, usage[0].cache_miss.unwrap().name()),
        (0, "empty")
    );
    let mut short = cached(&prompt(5, 2), 4);
    short.cache_min_tokens = Some(6);
    engine.add(short).unwrap();
    run_rows(&mut engine, 512);
    assert_eq!(
        finished(&controls)[0].cache_miss.unwrap().name(),
        "too_short"
    );
}

#[test]
fn tenants_share_nothing() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 64);
    for tenant in ["a", "b", "a"] {
        let mut request = cached(&prompt(40, 1), 4);
        request.tenant = tenant.to_owned();
        engine.add(request).unwrap();
        run_all(&mut engine, 512);
    }
    let stats = engine.prefix_stats();
    assert_eq!((stats.hits, stats.misses), (1, 2));
    let tenants = engine.kv().pages().tenants().stats();
    assert!(
        tenants.iter().all(|tenant| tenant.used_bytes > 0),
        "{tenants:?}"
    );
    engine.clear_prefixes();
    let tenants = engine.kv().pages().tenants().stats();
    assert!(
        tenants.iter().all(|tenant| tenant.used_bytes == 0),
        "{tenants:?}"
    );
}

#[test]
fn a_tenant_beyond_its_quota_loses_its_own_prefixes_and_then_its_request() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 64);
    let block_bytes = engine.kv().block_bytes();
    let set = |engine: &Engine, blocks: usize| {
        let tenants = engine.kv().pages().tenants();
        tenants.set_quota("a", Some(blocks * block_bytes)).unwrap();
    };
    set(&engine, 4);
    for (tenant, salt) in [("b", 1), ("a", 1), ("a", 2)] {
        let mut request = cached(&prompt(40, salt), 4);
        request.tenant = tenant.to_owned();
        engine.add(request).unwrap();
        run_all(&mut engine, 512);
    }
    assert!(engine.prefix_stats().evictions > 0);
    // The other tenant's prefix stayed.
    let mut request = cached(&prompt(40, 1), 4);
    request.tenant = "b".to_owned();
    engine.add(request).unwrap();
    run_all(&mut engine, 512);
    assert_eq!(engine.prefix_stats().hits, 1);
    set(&engine, 2);
    let mut request = cached(&prompt(40, 3), 4);
    request.tenant = "a/user".to_owned();
    let id = engine.add(request).unwrap();
    let rows = vec![PlanRow {
        sequence: id,
        prefill_tokens: 512,
    }];
    engine.advance(&Plan { rows, max_steps: 4 }).unwrap();
    assert_eq!(engine.sequences().count(), 0);
    check(&engine);
}

/// Runs one step at a time, setting some sequence aside before most.
fn run_with_preemption(
    engine: &mut Engine,
    swap: impl Fn(usize) -> bool,
) -> BTreeMap<SequenceId, Outcome> {
    for step in 0..600 {
        let ids: Vec<_> = engine.sequences().map(|status| status.sequence).collect();
        if ids.is_empty() {
            break;
        }
        // Not at every step: a prompt that is set aside each time would never be complete.
        if step % 5 < ids.len() - 1 || step % 5 == 4 {
            engine.preempt(ids[step % ids.len()], swap(step)).unwrap();
        }
        let rows = ids.iter().map(|id| PlanRow {
            sequence: *id,
            prefill_tokens: 9,
        });
        let rows = rows.collect();
        engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
    }
    run_all(engine, 512)
}

#[test]
fn sequences_that_were_set_aside_go_on_as_if_nothing_had_been() {
    for name in MODELS {
        let model = model(name);
        for swap in [|_| false, |_| true, |step: usize| step.is_multiple_of(2)] {
            for min in [Some(1), None] {
                let mut engine = engine(&model, 64);
                let requests: Vec<_> = (0..4)
                    .map(|salt| Request {
                        adapters: vec![],
                        cache_min_tokens: min,
                        task: Task::Generate(drawn(u64::from(salt), 10)),
                        ..cached(&branch(11, 100, salt), 10)
                    })
                    .collect();
                let ids: Vec<_> = requests
                    .iter()
                    .map(|request| engine.add(request.clone()).unwrap())
                    .collect();
                let outcomes = run_with_preemption(&mut engine, swap);
                for (id, request) in ids.iter().zip(&requests) {
                    assert_eq!(outcomes[id], alone(&model, request), "{name}");
                }
                assert_eq!(engine.swapped_bytes(), 0);
                check(&engine);
            }
        }
    }
}

/// The file that keeps an engine's prefixes, made in pieces of about so many bytes, and its nodes.
fn saved(engine: &mut Engine, piece_bytes: usize) -> (Vec<u8>, usize) {
    let mut snapshot = engine.snapshot_prefixes("tiny");
    let mut file = Vec::new();
    loop {
        let piece = engine.next_piece(&mut snapshot, piece_bytes);
        if piece.is_empty() {
            return (file, snapshot.written_nodes());
        }
        file.extend(piece);
    }
}

#[test]
fn a_saved_cache_gives_the_same_tokens_after_a_restart() {
    for name in MODELS {
        let model = model(name);
        let mut before = engine(&model, 64);
        for salt in 1..5 {
            before.add(cached(&branch(30, 9, salt), 8)).unwrap();
        }
        run_all(&mut before, 512);
        let (file, nodes) = saved(&mut before, 1000);
        assert_eq!(nodes, before.prefix_stats().nodes);

        let mut after = engine(&model, 64);
        let loaded = after
            .load_prefixes("tiny", &mut Cursor::new(&file))
            .unwrap();
        assert_eq!((loaded.nodes, loaded.loaded_nodes), (nodes, nodes));
        assert_eq!(after.prefix_stats().tokens, before.prefix_stats().tokens);
        assert_eq!(after.kv().cached_blocks(), before.kv().cached_blocks());
        let request = cached(&branch(30, 9, 2), 8);
        let id = after.add(request.clone()).unwrap();
        assert_eq!(after.sequences().next().unwrap().computed_tokens, 38);
        let outcome = run_all(&mut after, 512).remove(&id).unwrap();
        assert_eq!(outcome, alone(&model, &request), "{name}");
        check(&after);

        // Where there is less room, what fits is taken.
        let mut small = engine(&model, 6);
        let loaded = small
            .load_prefixes("tiny", &mut Cursor::new(&file))
            .unwrap();
        assert!(loaded.loaded_nodes < nodes);
        check(&small);
    }
}

#[test]
fn files_that_are_damaged_or_belong_elsewhere_are_refused() {
    let model = model("models/llama-gqa");
    let mut before = engine(&model, 64);
    before.add(cached(&prompt(40, 1), 4)).unwrap();
    run_all(&mut before, 512);
    let (file, _) = saved(&mut before, usize::MAX);
    let mut after = engine(&model, 64);
    let mut refuse = |bytes: &[u8], expected: &str| {
        let error = after
            .load_prefixes("tiny", &mut Cursor::new(bytes))
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(after.kv().cached_blocks(), 0);
    };
    refuse(&[], "no cache");
    refuse(&file[..file.len() - 1], "checksum");
    refuse(&vec![0; 4096], "does not begin");
    let mut other = file.clone();
    other[8] = 9;
    refuse(&other, "version 9");
    for place in (0..file.len()).step_by(97) {
        let mut damaged = file.clone();
        damaged[place] ^= 0x10;
        assert!(
            after
                .load_prefixes("tiny", &mut Cursor::new(&damaged))
                .is_err()
        );
    }
    let error = after
        .load_prefixes("other", &mut Cursor::new(&file))
        .unwrap_err();
    assert!(error.to_string().contains("belongs to tiny"), "{error}");
    check(&after);
}
