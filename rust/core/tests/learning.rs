//! Adapters before the head and captured answers inside the engine: each row is its own sequence's, whatever is around it.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::sync::Arc;

use prompts::prompt;
use ruvllm_core::engine::{Engine, Plan, PlanRow};
use ruvllm_core::ids::{SequenceId, TokenId};
use ruvllm_core::learning::{
    Capture, CaptureRing, Captured, CapturedToken, HeadAdapter, HeadLearner, HeadState, StepLimits,
};
use ruvllm_core::model::Model;
use ruvllm_core::sequence::{Request, Task};
use support::{engine, greedy, model, request, run_all};

const MODELS: [&str; 3] = [
    "models/llama-gqa",
    "models/gemma2-softcap",
    "gguf/qwen3-qknorm.gguf",
];

fn score() -> Task {
    Task::Score { top_logprobs: 0 }
}

fn head(model: &Model, salt: u32) -> Arc<HeadAdapter> {
    let width = model.spec().hidden_size;
    let numbers = |salt: u32| -> Vec<f32> {
        let number = |index: u32| ((index * 7919 + salt * 31) % 211) as f32 / 211.0 - 0.5;
        (0..2 * width as u32).map(number).collect()
    };
    Arc::new(HeadAdapter::new(width, 0.3, numbers(salt), numbers(salt + 1)).unwrap())
}

fn ring() -> Arc<CaptureRing> {
    Arc::new(CaptureRing::new(1 << 24, 512))
}

fn kept_in(ring: &Arc<CaptureRing>, key: &str, first: usize) -> Capture {
    Capture {
        ring: Arc::clone(ring),
        key: key.to_owned(),
        first,
    }
}

/// A token, how likely it was, and its candidates.
type Said = (TokenId, u32, Vec<TokenId>);

/// All that is known of an answer, to the bit.
fn contents(captured: &Captured) -> (Vec<u32>, Vec<Said>) {
    let mut states = Vec::new();
    captured.states(&mut states);
    let tokens = captured.tokens().map(|one| {
        let candidates = one.candidates.iter().map(|(token, _)| *token);
        (one.token, one.logprob.to_bits(), candidates.collect())
    });
    (
        states.into_iter().map(f32::to_bits).collect(),
        tokens.collect(),
    )
}

#[test]
fn in_company_each_has_its_own_head_and_its_own_states() {
    for name in MODELS {
        let model = model(name);
        let kept = ring();
        let requests: Vec<Request> = (0..5)
            .map(|index| {
                let task = if index % 2 == 0 {
                    score()
                } else {
                    Task::Generate(greedy(9))
                };
                let mut one = request(&prompt(20 + 9 * index, index as u32), task);
                one.head = (index != 1).then(|| head(&model, index as u32));
                one.capture = (index != 2).then(|| kept_in(&kept, &format!("{index}"), 15));
                one
            })
            .collect();
        let alone: Vec<_> = requests
            .iter()
            .map(|one| {
                let mut engine = engine(&model, 64);
                engine.add(one.clone()).unwrap();
                run_all(&mut engine, 7).into_values().next().unwrap()
            })
            .collect();
        let take = |index: usize| kept.take(&format!("{index}")).map(|one| contents(&one));
        let captured_alone: Vec<_> = (0..5).map(take).collect();
        let mut engine = engine(&model, 64);
        for one in &requests {
            engine.add(one.clone()).unwrap();
        }
        let together: Vec<_> = run_all(&mut engine, 64).into_values().collect();
        assert_eq!(together, alone, "{name}");
        let captured: Vec<_> = (0..5).map(take).collect();
        assert_eq!(captured, captured_alone, "{name}");
        let counts: Vec<_> = captured
            .iter()
            .map(|one| one.as_ref().map(|one| one.1.len()))
            .collect();
        assert_eq!(
            counts,
            [Some(5), Some(9), None, Some(9), Some(41)],
            "{name}"
        );
    }
}

#[test]
fn states_are_those_before_the_head_adapter() {
    let model = model(MODELS[0]);
    let kept = ring();
    let captured = |head: Option<Arc<HeadAdapter>>| {
        let mut engine = engine(&model, 64);
        let mut one = request(&prompt(20, 1), score());
        (one.head, one.capture) = (head, Some(kept_in(&kept, "one", 1)));
        engine.add(one).unwrap();
        run_all(&mut engine, 64);
        contents(&kept.take("one").unwrap())
    };
    let (plain, moved) = (captured(None), captured(Some(head(&model, 3))));
    assert_eq!(plain.0, moved.0);
    assert_ne!(plain.1, moved.1);
}

#[test]
fn what_is_computed_anew_is_kept_once() {
    let model = model(MODELS[0]);
    let kept = ring();
    let mut found = Vec::new();
    for is_set_aside in [false, true] {
        let mut engine: Engine = engine(&model, 64);
        let mut one = request(&prompt(40, 1), score());
        one.capture = Some(kept_in(&kept, "one", 10));
        let id: SequenceId = engine.add(one).unwrap();
        if is_set_aside {
            let rows = vec![PlanRow {
                sequence: id,
                prefill_tokens: 25,
            }];
            engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
            engine.preempt(id, false).unwrap();
        }
        run_all(&mut engine, 64);
        found.push(contents(&kept.take("one").unwrap()));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_ring_holds_the_latest_that_fit() {
    let state = [1.0; 8];
    let answer = |tokens: usize| {
        let mut captured = Captured::new(state.len(), None);
        for token in 0..tokens {
            let candidates = [(token as TokenId, -0.5), (7, -2.0)];
            captured.push(
                &state,
                CapturedToken {
                    token: token as TokenId,
                    logprob: -0.5,
                    log_total: 0.0,
                    candidates: &candidates,
                },
            );
        }
        captured
    };
    let bytes = answer(4).bytes();
    let ring = CaptureRing::new(2 * bytes + 1, 512);
    ring.put("first".to_owned(), answer(4));
    ring.put("second".to_owned(), answer(4));
    ring.put("second".to_owned(), answer(4));
    assert_eq!(ring.usage(), (2, 2 * bytes));
    ring.put("third".to_owned(), answer(4));
    assert_eq!(
        [ring.has("first"), ring.has("second"), ring.has("third")],
        [false, true, true]
    );
    ring.put("empty".to_owned(), answer(0));
    ring.put("large".to_owned(), answer(100));
    assert_eq!([ring.has("empty"), ring.has("large")], [false, false]);
    assert_eq!(ring.take("second").unwrap().len(), 4);
    assert!(ring.take("second").is_none());
    assert_eq!(ring.usage(), (1, bytes));
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = model(MODELS[0]);
    let mut engine = engine(&model, 64);
    let mut wide = request(&prompt(5, 1), score());
    wide.head = Some(Arc::new(
        HeadAdapter::new(3, 1.0, vec![0.0; 3], vec![0.0; 3]).unwrap(),
    ));
    let refused = engine.add(wide).unwrap_err().to_string();
    assert!(refused.contains("hidden states of 3"), "{refused}");
    let mut logits = request(&prompt(5, 1), Task::Logits);
    logits.capture = Some(kept_in(&ring(), "one", 0));
    let refused = engine.add(logits).unwrap_err().to_string();
    assert!(refused.contains("generations and scores"), "{refused}");
    for (a, b) in [(4, 3), (3, 4), (0, 0), (9, 9)] {
        assert!(HeadAdapter::new(3, 1.0, vec![0.0; a], vec![0.0; b]).is_err());
    }
    assert!(HeadAdapter::new(1, f32::NAN, vec![0.0], vec![0.0]).is_err());
    assert!(HeadAdapter::new(1, 1.0, vec![0.0], vec![f32::INFINITY]).is_err());
}

#[test]
fn no_advantage_moves_nothing_and_bounds_are_kept() {
    let model = model(MODELS[0]);
    let kept = ring();
    let mut engine = engine(&model, 64);
    let mut one = request(&prompt(30, 1), score());
    one.capture = Some(kept_in(&kept, "one", 10));
    engine.add(one).unwrap();
    run_all(&mut engine, 64);
    let captured = kept.take("one").unwrap();
    let nothing = vec![0.0; 2 * model.spec().hidden_size];
    let state = HeadState {
        a: nothing.clone(),
        b: nothing.clone(),
        scale: 1.0,
        fisher: (nothing.clone(), nothing.clone()),
        anchor: (nothing.clone(), nothing),
    };
    let limits = StepLimits {
        max_divergence: 0.1,
        max_drift: 1.0,
        ewc_lambda: 0.02,
        fisher_decay: 0.999,
        steps: 2,
    };
    let mut learner = HeadLearner::default();
    let mut update = |advantage: f32, limits: &StepLimits| {
        learner.update(&*model, &captured, advantage, &state, limits)
    };
    let still = update(0.0, &limits).unwrap();
    assert!(!still.applied && still.gain == 0.0 && still.state.a == state.a);
    for (advantage, allowed) in [(1.0, 0.1), (0.5, 0.025), (-0.5, 0.025), (-1.0, 0.1)] {
        let moved = update(advantage, &limits).unwrap();
        assert!(moved.applied && moved.gain * advantage > 0.0);
        assert!(
            moved.divergence <= allowed && moved.divergence > 0.3 * allowed,
            "{moved:?}"
        );
        assert_eq!(moved.drift, moved.divergence);
    }
    let drifting = StepLimits {
        max_drift: 0.01,
        ..limits
    };
    assert!(update(1.0, &drifting).unwrap().drift <= 0.01);
    for advantage in [f32::NAN, 1.5, -1.1] {
        assert!(update(advantage, &limits).is_err());
    }
}
