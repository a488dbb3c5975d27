//! What finished answers said is there for answers to come, for their own tenant and adapter alone, and within its bytes.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/guessing.rs"]
mod guessing;
mod support;

use std::sync::Arc;

use guessing::{Guesses, answers_alone, run_in_turns, speculation};
use proptest::prelude::*;
use ruvllm_core::engine::Engine;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sequence::{Request, Task};
use ruvllm_core::speculation::automaton::{Automaton, Walk};
use ruvllm_core::speculation::{
    DraftCounts, Histories, Lengths, Lookups, Owner, Proposer, Proposers, Support,
};
use support::{config, greedy, model, request};

fn text(tokens: u32) -> impl Strategy<Value = Vec<TokenId>> {
    prop::collection::vec(0..tokens, 0..80)
}

/// Where a string ends in a text.
fn ends(text: &[TokenId], string: &[TokenId]) -> Vec<usize> {
    let ends = string.len()..=text.len();
    ends.filter(|end| text[..*end].ends_with(string)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// At each step of the walk as much of the text is told as `grown` says: a walk that began later knows the longest
    /// end that stands there, one that was under way at least one that does.
    #[test]
    fn a_walk_is_at_an_end_that_stands_in_the_text(
        (text, other) in (1_u32..5).prop_flat_map(|tokens| (text(tokens), text(tokens))),
        grown in prop::collection::vec(0_usize..6, 80),
    ) {
        let mut automaton = Automaton::default();
        let mut told = 0;
        let mut walk = Walk::default();
        for (place, token) in other.iter().enumerate() {
            for token in &text[told..text.len().min(told + grown[place])] {
                automaton.push(*token);
                told += 1;
            }
            automaton.walk(&mut walk, *token);
            let seen = &other[..=place];
            let found = ends(&text[..told], &seen[seen.len() - walk.length()..]);
            let next = automaton.place_behind(walk);
            prop_assert!(next.map_or(walk.length() == 0, |next| found.contains(&next)));
            let mut fresh = Walk::default();
            for token in seen {
                automaton.walk(&mut fresh, *token);
            }
            let longest = (0..=seen.len()).rev().find(|length| {
                *length == 0 || !ends(&text[..told], &seen[seen.len() - length..]).is_empty()
            });
            prop_assert_eq!(Some(fresh.length()), longest);
            prop_assert!(walk.length() <= fresh.length());
        }
    }
}

fn of(tenant: &str, adapter: u64) -> Owner {
    Owner {
        tenant: tenant.to_owned(),
        adapter,
    }
}

/// What is guessed behind a prompt.
fn guessed(
    lookups: &Lookups,
    owner: Option<&Owner>,
    prompt: &[TokenId],
) -> (Option<Support>, Vec<TokenId>) {
    let mut proposer = lookups.begin(owner, &[]);
    for token in prompt {
        proposer.observe(*token);
    }
    let mut draft = Vec::new();
    (proposer.propose(4, &mut draft), draft)
}

#[test]
fn what_was_answered_is_guessed_for_its_owner_alone() {
    let lookups = Lookups::default();
    let prompt: Vec<_> = (10..20).collect();
    let said = [&prompt[..], &[1, 2, 3]].concat();
    lookups.end(&of("a", 1), &said, prompt.len());
    let found = Support::History(10);
    assert_eq!(
        guessed(&lookups, Some(&of("a", 1)), &prompt),
        (Some(found), vec![1, 2, 3])
    );
    for other in [Some(of("a", 2)), Some(of("b", 1)), Some(of("", 1)), None] {
        assert_eq!(guessed(&lookups, other.as_ref(), &prompt), (None, vec![]));
    }
    // What the text itself says weighs more where it is as long.
    let twice = [&prompt[8..], &[7, 7][..], &prompt[8..]].concat();
    let (support, draft) = guessed(&lookups, Some(&of("a", 1)), &twice);
    assert_eq!((support, draft[0]), (Support::in_text(2), 7));
}

fn numbered(first: u32, tokens: u32) -> Vec<TokenId> {
    (first..first + tokens).collect()
}

/// An answer under way goes on in what has become older, and no further than it is there.
#[test]
fn an_answer_under_way_sees_the_halves_change_places() {
    let lookups = Lookups::over(Histories::of_bytes(1 << 20));
    let owner = of("a", 0);
    let long = numbered(1000, 600);
    lookups.end(&owner, &long, 1);
    let mut proposer = lookups.begin(Some(&owner), &[]);
    for token in &long[..50] {
        proposer.observe(*token);
    }
    let proposed = |proposer: &dyn Proposer| {
        let mut draft = Vec::new();
        let support = proposer.propose(2, &mut draft);
        (support, draft)
    };
    assert_eq!(
        proposed(&*proposer),
        (Some(Support::History(50)), long[50..52].to_vec())
    );
    // Too much for one half: what was there is older, and where the answer stands in it is not known until it goes on.
    lookups.end(&owner, &numbered(10_000, 2000), 1);
    assert_eq!(proposed(&*proposer), (None, vec![]));
    proposer.observe(long[50]);
    assert_eq!(
        proposed(&*proposer),
        (Some(Support::History(51)), long[51..53].to_vec())
    );
    // Twice more, and it is gone.
    lookups.end(&owner, &numbered(20_000, 2000), 1);
    lookups.end(&owner, &numbered(30_000, 2000), 1);
    proposer.observe(long[51]);
    assert_eq!(proposed(&*proposer), (None, vec![]));
    proposer.observe(30_005);
    assert_eq!(
        proposed(&*proposer),
        (Some(Support::History(1)), vec![30_006, 30_007])
    );
}

/// Where a prediction ends another text begins: what follows there upon an answer before has nothing to do with it.
#[test]
fn a_prediction_that_was_an_answer_does_not_lead_into_the_next_one() {
    let lookups = Lookups::default();
    let owner = of("a", 0);
    lookups.end(&owner, &numbered(1, 20), 1);
    lookups.end(&owner, &numbered(100, 20), 1);
    let mut proposer = lookups.begin(Some(&owner), &numbered(1, 20));
    assert!(proposer.catch_up(&mut 100));
    proposer.observe(100);
    let mut draft = Vec::new();
    let support = proposer.propose(3, &mut draft).unwrap();
    assert_eq!((support, draft), (Support::History(1), vec![101, 102, 103]));
}

#[test]
fn histories_keep_within_their_bytes() {
    let budget = 1 << 20;
    let lookups = Lookups::over(Histories::of_bytes(budget));
    let mut state = 1_u64;
    for index in 0..600_u64 {
        let text: Vec<TokenId> = (0..200 + index as usize % 700)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 40) as u32 % 30_000
            })
            .collect();
        let owner = of(["a", "b", "c", "d"][index as usize % 4], index % 3);
        lookups.end(&owner, &text, 20);
        assert!(lookups.bytes() <= budget, "{} bytes", lookups.bytes());
        // The newest is there.
        let (support, _) = guessed(&lookups, Some(&owner), &text[..60]);
        assert!(matches!(support, Some(Support::History(59..))), "{index}");
    }
    // The same again costs nothing.
    let before = lookups.bytes();
    let text: Vec<TokenId> = (0..400).collect();
    lookups.end(&of("a", 0), &text, 10);
    let once = lookups.bytes();
    for _ in 0..50 {
        lookups.end(&of("a", 0), &text, 10);
    }
    assert!(lookups.bytes() == once && once >= before);
}

/// Counts of guesses and steps of a request, after others.
fn counted(engine: &mut Engine, asked: Request) -> (DraftCounts, u64) {
    let (counts, steps) = (engine.draft_counts(), engine.steps());
    engine.add(asked).unwrap();
    run_in_turns(engine, 0);
    let now = engine.draft_counts();
    let own = DraftCounts {
        drafted: now.drafted - counts.drafted,
        accepted: now.accepted - counts.accepted,
    };
    (own, engine.steps() - steps)
}

#[test]
fn who_asks_again_is_answered_in_fewer_steps() {
    let model = model("models/llama-gqa");
    let settings = config(&model, 64);
    let prompt: Vec<TokenId> = (0..24).map(|index| 3 + (index * 17) % 250).collect();
    let asked = |tenant: &str, is_cached: bool| Request {
        tenant: tenant.to_owned(),
        cache_min_tokens: is_cached.then_some(16),
        ..request(&prompt, Task::Generate(greedy(60)))
    };
    let alone = answers_alone(&model, settings, &[asked("", true)]);
    let asked = |tenant, is_cached| alone[0].asked(Guesses::History, &asked(tenant, is_cached));
    let mut engine = Engine::new(Arc::clone(&model), None, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::History, Lengths::Always(5)));
    // Who leaves no trace is not remembered.
    counted(&mut engine, asked("", false));
    let (_, first) = counted(&mut engine, asked("", true));
    let (again, second) = counted(&mut engine, asked("", true));
    assert!(
        again.accepted > 45 && second < first / 2,
        "{again:?}, {second} of {first} steps"
    );
    // Nor is whose prompt is shorter than what he wants kept.
    let short = Request {
        cache_min_tokens: Some(25),
        ..asked("short", true)
    };
    counted(&mut engine, short.clone());
    assert_eq!(counted(&mut engine, short).1, first);
    // Neither is he shown what others were told.
    for other in [asked("", false), asked("else", true)] {
        let (_, steps) = counted(&mut engine, other);
        assert_eq!(steps, first);
    }
    // Nothing is left, once prefixes are cleared.
    engine.clear_prefixes();
    assert_eq!(counted(&mut engine, asked("", true)).1, first);
}
