//! Whoever leaves within a step takes out its own rows and nothing else.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/cancelling_clock.rs"]
mod cancelling_clock;
#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::sync::Arc;

use cancelling_clock::CancellingClock;
use prompts::prompt;
use ruvllm_core::engine::{Pause, Plan, PlanRow};
use ruvllm_core::sequence::Task;
use support::{engine, greedy, model, request, run_all};

#[test]
fn whoever_leaves_within_a_step_takes_nobodys_rows_along() {
    let model = model("models/llama-gqa");
    let alone = {
        let mut engine = engine(&model, 32);
        let id = engine
            .add(request(&prompt(40, 2), Task::Generate(greedy(6))))
            .unwrap();
        run_all(&mut engine, 16).remove(&id).unwrap().tokens
    };
    let mut left_within = 0;
    // Every look at the clock within the first step and beyond its end, in turn.
    for cancel_at in 0..200 {
        let mut engine = engine(&model, 32);
        let leaver = request(&prompt(48, 3), Task::Generate(greedy(6)));
        let cancel = leaver.cancel.clone();
        // Its rows stand before those of the one who stays, and behind them.
        let first = engine.add(leaver.clone()).unwrap();
        let stays = engine
            .add(request(&prompt(40, 2), Task::Generate(greedy(6))))
            .unwrap();
        let last = engine.add(leaver).unwrap();
        engine.start_profile(Arc::new(CancellingClock::new(cancel_at, cancel)));
        let rows = [first, stays, last].map(|sequence| PlanRow {
            sequence,
            prefill_tokens: 16,
        });
        engine
            .advance(&Plan {
                rows: rows.to_vec(),
                max_steps: 1,
            })
            .unwrap();
        let computed: Vec<_> = engine
            .sequences()
            .map(|status| (status.sequence, status.computed_tokens))
            .collect();
        let progress = (stays, 16);
        assert!(
            computed.contains(&progress) || cancel_at == 0,
            "{cancel_at}: {computed:?}"
        );
        left_within += usize::from(computed.len() == 1);
        let outcomes = run_all(&mut engine, 16);
        assert_eq!(outcomes[&stays].tokens, alone, "cancelled at {cancel_at}");
        assert_eq!(engine.kv().free_blocks(), 32);
    }
    assert!(
        left_within > 20,
        "{left_within}: the step had no places to leave at"
    );
}

#[test]
fn a_step_that_nobody_wants_is_given_up() {
    let model = model("models/llama-gqa");
    let mut engine = engine(&model, 32);
    let leaver = request(&prompt(48, 3), Task::Generate(greedy(6)));
    let cancel = leaver.cancel.clone();
    let id = engine.add(leaver).unwrap();
    engine.start_profile(Arc::new(CancellingClock::new(12, cancel)));
    let plan = Plan {
        rows: vec![PlanRow {
            sequence: id,
            prefill_tokens: 48,
        }],
        max_steps: 5,
    };
    assert_eq!(engine.advance(&plan).unwrap(), Pause::Finished);
    assert_eq!(engine.kv().free_blocks(), 32);
    let outcome = run_all(&mut engine, 16).remove(&id).unwrap();
    assert_eq!(
        (outcome.reason, outcome.tokens),
        (Some("cancelled"), vec![])
    );
}
