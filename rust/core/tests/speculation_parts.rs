//! What guesses rest upon, beside plain searches; how many of them pay, beside all that there are to choose from.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::speculation::automaton::{Automaton, Match};
use ruvllm_core::speculation::policy::{Candidate, lengths};
use ruvllm_core::speculation::{
    Acceptance, Draft, Drafting, Lookup, Lookups, Proposer, Proposers, StepCosts, Support,
};

/// The longest end of the text that ends before as well, found by looking everywhere, and all places behind it.
fn longest(text: &[TokenId]) -> Option<(usize, Vec<usize>)> {
    let common = |end: usize| {
        let pairs = text[..end].iter().rev().zip(text.iter().rev());
        pairs.take_while(|(one, other)| one == other).count()
    };
    let length = (1..text.len())
        .map(common)
        .max()
        .filter(|length| *length > 0)?;
    let places = (1..text.len()).filter(|end| common(*end) >= length);
    Some((length, places.collect()))
}

fn text() -> impl Strategy<Value = Vec<TokenId>> {
    prop_oneof![
        prop::collection::vec(0_u32..2, 0..120),
        prop::collection::vec(0_u32..4, 0..120),
        prop::collection::vec(0_u32..40, 0..120),
        // Parts that come again.
        (
            prop::collection::vec(0_u32..30, 1..20),
            prop::collection::vec(0_usize..20, 1..12)
        )
            .prop_map(|(words, starts)| {
                let parts = starts
                    .iter()
                    .flat_map(|start| &words[start % words.len()..]);
                parts.copied().collect()
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_longest_match_is_the_one_that_a_search_finds(text in text()) {
        let mut automaton = Automaton::default();
        for end in 1..=text.len() {
            automaton.push(text[end - 1]);
            let found = automaton.found();
            let searched = longest(&text[..end]);
            prop_assert_eq!(found.map(|one| one.length), searched.as_ref().map(|one| one.0));
            if let (Some(Match { next, .. }), Some((_, places))) = (found, searched) {
                prop_assert!(places.contains(&next), "{} of {:?}", next, places);
            }
        }
    }

    #[test]
    fn guesses_are_what_followed_upon_the_match(text in text(), most in 1_usize..12) {
        let mut lookup = Lookup::default();
        for end in 1..=text.len() {
            lookup.observe(text[end - 1]);
            let mut draft = Vec::new();
            let length = lookup.propose(most, &mut draft).map_or(0, |support| match support {
                Support::Text(length) => length,
                other => panic!("{other:?}"),
            });
            let Some((longest, places)) = longest(&text[..end]) else {
                prop_assert!(length == 0 && draft.is_empty());
                continue;
            };
            prop_assert_eq!((length, draft.len()), (longest, most));
            // Beyond the end of the text it repeats itself.
            let follows = |place: &usize| {
                let mut whole = text[..end].to_vec();
                (*place..*place + most).for_each(|index| whole.push(whole[index]));
                whole[end..] == draft
            };
            prop_assert!(places.iter().any(follows));
        }
    }

    #[test]
    fn lengths_are_the_best_of_all_where_nobody_loses(
        chances in prop::collection::vec(prop::collection::vec(0.05_f64..1.0, 0..4), 1..4),
        row in 0.02_f64..1.0,
    ) {
        let costs = linear(row);
        let candidates: Vec<_> = chances.iter().map(|each| Candidate {
            rows: 1,
            chances: each.iter().scan(1.0, |all, one| { *all *= one; Some(*all) }).collect(),
        }).collect();
        let chosen = lengths(&costs, &candidates);
        let (gain, least) = gain_of(&costs, &candidates, &chosen);
        prop_assert!(chosen.iter().all(|length| *length == 0) || gain > 1.04 && least >= 0.98);
        for other in all_lengths(&candidates) {
            let (other_gain, other_least) = gain_of(&costs, &candidates, &other);
            // Of so many guesses the likeliest give most, so only lengths that serve somebody else could be better.
            let likeliest = candidates.len() == 1;
            prop_assert!(!likeliest || other_gain <= gain.max(1.04) + 1e-9 || other_least < 0.98);
        }
    }
}

/// Costs after many steps of 1 to 20 rows, each row `row` of the first.
fn linear(row: f64) -> StepCosts {
    let mut costs = StepCosts::default();
    for _ in 0..40 {
        for rows in 1..=20 {
            costs.note(rows, ((1.0 + row * (rows - 1) as f64) * 1e6) as u64);
        }
    }
    costs
}

/// How many times as many tokens in a time, and of whoever gains least.
fn gain_of(costs: &StepCosts, candidates: &[Candidate], lengths: &[usize]) -> (f64, f64) {
    let rows: usize = candidates.len() + lengths.iter().sum::<usize>();
    let slower = costs.times(rows) / costs.times(candidates.len());
    let tokens = candidates.iter().zip(lengths);
    let tokens: Vec<f64> = tokens
        .map(|(one, length)| 1.0 + one.chances[..*length].iter().sum::<f64>())
        .collect();
    let total: f64 = tokens.iter().sum();
    let least = tokens.iter().copied().fold(f64::INFINITY, f64::min);
    (total / candidates.len() as f64 / slower, least / slower)
}

fn all_lengths(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    candidates.iter().fold(vec![vec![]], |all, one| {
        let longer = |lengths: &Vec<usize>| {
            let lengths = lengths.clone();
            (0..=one.chances.len()).map(move |length| [&lengths[..], &[length]].concat())
        };
        all.iter().flat_map(longer).collect()
    })
}

#[test]
fn costs_are_what_was_seen_whatever_the_pace() {
    let costs = linear(0.3);
    for rows in 1..=20 {
        let seen = 1.0 + 0.3 * (rows - 1) as f64;
        assert!(
            (costs.times(rows) / seen - 1.0).abs() < 0.05,
            "{rows}: {}",
            costs.times(rows)
        );
    }
    // Between sizes that were seen, and behind them.
    let mut costs = StepCosts::default();
    for _ in 0..60 {
        costs.note(1, 1_000_000);
        costs.note(9, 3_400_000);
    }
    assert!((costs.times(5) - 2.2).abs() < 0.1, "{}", costs.times(5));
    assert!(costs.times(10) > costs.times(9) && costs.times(10) < costs.times(9) + 0.3);
    // The pace of all changes, as with a longer context: what sizes are to each other stays.
    for _ in 0..60 {
        costs.note(9, 6_800_000);
        costs.note(1, 2_000_000);
    }
    assert!((costs.times(9) - 3.4).abs() < 0.2, "{}", costs.times(9));
}

#[test]
fn a_size_that_was_slow_once_is_tried_again() {
    let mut costs = StepCosts::default();
    (0..20).for_each(|_| costs.note(1, 1_000_000));
    (0..9).for_each(|_| costs.note(4, 20_000_000));
    let sure = [Candidate {
        rows: 1,
        chances: vec![0.9, 0.8, 0.7],
    }];
    assert_eq!(lengths(&costs, &sure), [0]);
    (0..600).for_each(|_| costs.note(1, 1_000_000));
    assert_eq!(lengths(&costs, &sure), [3]);
}

#[test]
fn nobody_loses_for_the_guesses_of_others() {
    let costs = linear(0.09);
    let sure = |count| Candidate {
        rows: 1,
        chances: vec![0.95; count],
    };
    assert_eq!(lengths(&costs, &[sure(8)]), [8]);
    // Beside one that guesses nothing every row would hold that one up.
    assert_eq!(
        lengths(
            &costs,
            &[
                sure(8),
                Candidate {
                    rows: 1,
                    chances: vec![]
                }
            ]
        ),
        [0, 0]
    );
    // Both gain.
    assert!(
        lengths(&costs, &[sure(8), sure(8)])
            .iter()
            .all(|length| *length > 2)
    );
    // Where rows cost as much as tokens give, none is guessed.
    let dear = linear(1.0);
    assert_eq!(lengths(&dear, &[sure(8), sure(8)]), [0, 0]);
}

#[test]
fn acceptance_follows_what_came_true() {
    let rests = |length| Support::in_text(length).unwrap();
    let mut acceptance = Acceptance::default();
    for _ in 0..100 {
        acceptance.learn(rests(1), false);
        acceptance.learn(rests(40), true);
    }
    let of = |length| acceptance.of(rests(length));
    assert!(of(1) < 0.01 && of(40) > 0.99 && of(40) <= 1.0);
    // The others are what they were, and so is what rests upon answers before.
    assert!(of(2) < of(4) && of(4) < of(16));
    let before = Support::History(1);
    assert!(acceptance.of(before) == Acceptance::default().of(before));
    let mut chances = Vec::new();
    acceptance.chances(rests(16), 3, &mut chances);
    let (first, next) = (of(16), of(17));
    assert_eq!(chances, [first, first * next, first * next * next]);
}

#[test]
fn a_draft_holds_as_long_as_it_comes_true() {
    let mut draft = Draft::of(vec![5, 6, 7]);
    let rows: Vec<bool> = [5, 6, 9]
        .iter()
        .map(|said| {
            let holds = draft.holds_next_row();
            draft.compare(*said);
            holds
        })
        .collect();
    assert_eq!((rows, draft.agreed()), (vec![true; 3], 2));
    assert!(!draft.holds_next_row());
    // What was forced needs no row of its own.
    let mut draft = Draft::of(vec![5, 6, 7]);
    assert!(draft.holds_next_row());
    draft.compare(5);
    draft.compare(6);
    assert!(!draft.holds_next_row());
    assert!(draft.holds_next_row());
    draft.compare(7);
    draft.stop();
    assert!(!draft.holds_next_row());
    assert_eq!(draft.agreed(), 3);
}

#[test]
fn a_prediction_is_looked_up_before_the_prompt_and_ends_where_it_ends() {
    let mut lookup = Lookups::default().begin(None, &[1, 2, 3, 4]);
    assert!(
        !lookup.catch_up(&mut 3),
        "no more at once than there is room for"
    );
    let mut room = 3;
    assert!(lookup.catch_up(&mut room));
    assert_eq!(room, 2);
    for token in [9, 9, 1, 2] {
        lookup.observe(token);
    }
    let mut draft = Vec::new();
    assert_eq!(lookup.propose(8, &mut draft), Support::in_text(2));
    assert_eq!(draft, [3, 4]);
}

#[test]
fn what_is_learned_comes_from_answers_alone_and_from_every_guess() {
    let text = [7, 8, 9, 7, 8, 9, 7, 8, 1];
    let mut drafting = Drafting::new(Lookups::default().begin(None, &[]));
    drafting.follow(&text[..5], 5, &mut 100);
    assert_eq!(drafting.guesses(5, 3), [9, 7, 8]);
    assert_eq!(drafting.guesses(6, 3), [0; 0]);
    let chance = |drafting: &Drafting, tokens| {
        let mut chances = Vec::new();
        drafting.chances(tokens, 1, &mut chances);
        chances[0]
    };
    let before = chance(&drafting, 5);
    drafting.follow(&text[..8], 5, &mut 100);
    assert!(chance(&drafting, 8) > before);
    drafting.follow(&text, 5, &mut 100);
    assert_eq!(drafting.guesses(9, 3), [0; 0]);
}

#[test]
fn an_answer_takes_in_no_more_at_once_than_there_is_room_for_and_always_what_a_step_gives() {
    let text: Vec<TokenId> = (0..40).map(|index| index % 8).collect();
    let mut drafting = Drafting::new(Lookups::default().begin(None, &[]));
    let mut room = 25;
    drafting.follow(&text, 40, &mut room);
    assert_eq!((room, drafting.guesses(40, 3)), (0, &[][..]));
    drafting.follow(&text, 40, &mut room);
    assert_eq!(drafting.guesses(34, 3), [2, 3, 4]);
    drafting.follow(&text, 40, &mut room);
    assert_eq!(drafting.guesses(40, 3), [0, 1, 2]);
}

#[test]
fn a_step_has_no_more_rows_than_costs_are_told_of() {
    let candidate = Candidate {
        rows: 1,
        chances: vec![1.0; 8],
    };
    let mut costs = StepCosts::default();
    // Rows cost nothing here, however many.
    for _ in 0..200 {
        costs.note(1, 1_000_000);
        costs.note(64, 1_000_000);
        costs.note(256, 1_000_000);
    }
    let lengths = lengths(&costs, &vec![candidate; 64]);
    assert_eq!(64 + lengths.iter().sum::<usize>(), 256);
}

#[test]
fn a_long_text_takes_bounded_memory() {
    let mut lookup = Automaton::default();
    let mut state = 1_u64;
    let tokens = 32_768;
    for index in 0..tokens {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Half of it repeats.
        let token = if index % 64 < 32 {
            index % 32
        } else {
            (state >> 40) as usize % 5000
        };
        lookup.push(token as TokenId);
    }
    // Twice as much as two states of 16 bytes, three edges of 16 and six slots of 4 a token: room grows twofold.
    assert!(
        lookup.bytes() <= 2 * tokens * (2 * 16 + 3 * 16 + 6 * 4),
        "{}",
        lookup.bytes()
    );
}
