//! What ends an answer, what must not end it yet, and what must not be in it.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/guessing.rs"]
mod guessing;
mod support;

use std::sync::Arc;

use guessing::{Answer, run_in_turns, vocabulary};
use ruvllm_core::engine::Engine;
use ruvllm_core::events::StoppedAt;
use ruvllm_core::grammar::{Grammar, GrammarSource, GrammarVocabulary, Start};
use ruvllm_core::model::Model;
use ruvllm_core::sequence::{Bounds, GenerateTask, Task};
use support::{config, greedy, model, request};

const MODEL: &str = "models/llama-gqa";
const PROMPT: [u32; 12] = [5, 90, 33, 7, 64, 120, 8, 5, 90, 33, 7, 9];

/// Up to 40 tokens within these bounds.
fn within(bounds: Bounds) -> GenerateTask {
    GenerateTask {
        bounds: Box::new(Bounds {
            ignore_end: true,
            ..bounds
        }),
        ..greedy(40)
    }
}

/// The answer to one task, and whatever is said where there is none.
fn answered(model: &Arc<Model>, task: GenerateTask) -> Result<Answer, String> {
    let words = Some(vocabulary(model));
    let mut engine = Engine::new(Arc::clone(model), words, vec![2], config(model, 64)).unwrap();
    let id = engine
        .add(request(&PROMPT, Task::Generate(task)))
        .map_err(|error| error.to_string())?;
    Ok(run_in_turns(&mut engine, 0).remove(&id).unwrap())
}

#[test]
fn a_stop_token_ends_an_answer_and_is_no_part_of_it() {
    let model = model(MODEL);
    let plain = answered(&model, greedy(40)).unwrap();
    let token = plain.tokens[20];
    let first = plain.tokens.iter().position(|one| *one == token).unwrap();
    let ends = Bounds {
        stop_tokens: vec![319, token],
        ..Bounds::default()
    };
    let stopped = answered(&model, within(ends.clone())).unwrap();
    assert_eq!(stopped.tokens, plain.tokens[..first]);
    assert_eq!(stopped.stopped_at, Some(StoppedAt::Token(token)));
    assert_eq!((stopped.reason, plain.stopped_at), (Some("stop"), None));
    // Not before its time: then another token is drawn in its place.
    let later = Bounds {
        min_tokens: first + 9,
        ..ends
    };
    let later = answered(&model, within(later)).unwrap();
    assert!(later.tokens.len() >= first + 9);
    assert_eq!(later.tokens[..first], plain.tokens[..first]);
    assert!(!later.tokens.contains(&token));
}

#[test]
fn the_stop_string_that_ended_it_is_named() {
    let model = model(MODEL);
    let plain = answered(&model, greedy(40)).unwrap();
    let stop = vec!["_".to_owned(), plain.text[30..34].to_owned()];
    let ends = Bounds {
        stop,
        ..Bounds::default()
    };
    let stopped = answered(&model, within(ends)).unwrap();
    assert_eq!(stopped.stopped_at, Some(StoppedAt::Text(1)));
    assert_eq!(stopped.text, plain.text[..stopped.text.len()]);
}

#[test]
fn banned_texts_are_nowhere_in_an_answer() {
    let model = model(MODEL);
    let plain = answered(&model, greedy(40)).unwrap();
    // Over the border of two tokens; and so short that most tokens have it.
    for banned in [&plain.text[31..36], "a", "e"] {
        let bounds = Bounds {
            banned: vec!["_".to_owned(), banned.to_owned()],
            ..Bounds::default()
        };
        let answer = answered(&model, within(bounds)).unwrap();
        assert!(
            plain.text.contains(banned) && !answer.text.contains(banned),
            "{banned}"
        );
        assert_eq!(answer.tokens.len(), 40);
        // What comes before is what it was.
        let same = plain.tokens.iter().zip(&answer.tokens);
        let same = same.take_while(|(one, other)| one == other).count();
        let words = vocabulary(&model);
        let before: usize = plain.tokens[..=same]
            .iter()
            .map(|token| words.bytes(*token).unwrap().len())
            .sum();
        assert!(
            plain.text[..before].contains(banned),
            "{banned}: another token without need"
        );
    }
}

/// Where a grammar and what is banned leave nothing, that is said; where they leave something, that comes.
#[test]
fn a_grammar_goes_on_with_what_is_not_banned() {
    let model = model(MODEL);
    let words = Arc::new(GrammarVocabulary::new(vocabulary(&model), &[2], None).unwrap());
    let source = GrammarSource::Regex("(abc|bcd|xyz)".to_owned());
    let grammar = Arc::new(Grammar::compile(&words, &source).unwrap());
    let said = |banned: &[&str]| {
        let bounds = Bounds {
            banned: banned.iter().map(|text| (*text).to_owned()).collect(),
            ..Bounds::default()
        };
        let task = GenerateTask {
            grammar: Some((Arc::clone(&grammar), Start { after: None })),
            bounds: Box::new(bounds),
            ..greedy(40)
        };
        answered(&model, task).unwrap()
    };
    assert_eq!(said(&["a", "b"]).text, "xyz");
    assert_ne!(said(&["xyz"]).text, "xyz");
    let nothing = said(&["abc", "bcd", "xy"]);
    let error = nothing.error.unwrap();
    assert!(error.contains("bad_words leave no token"), "{error}");
}

#[test]
fn what_cannot_be_is_refused() {
    let model = model(MODEL);
    let unknown = Bounds {
        stop_tokens: vec![320],
        ..Bounds::default()
    };
    let late = Bounds {
        min_tokens: 41,
        ..Bounds::default()
    };
    for (bounds, said) in [
        (unknown, "stop_token_ids has 320"),
        (late, "min_tokens is 41; max_tokens = 40"),
    ] {
        let refused = answered(&model, within(bounds)).unwrap_err();
        assert!(refused.contains(said), "{refused}");
    }
}
