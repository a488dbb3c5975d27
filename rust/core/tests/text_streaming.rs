//! Detokenizer and stop matcher against the plain way: all text at once.

use std::sync::Arc;

use proptest::prelude::*;
use ruvllm_core::text::{Detokenizer, StopMatcher, Vocabulary};

const REPLACEMENT: &str = "\u{FFFD}";

/// Bytes that are likely to be parts of characters, whole or broken.
fn text_like_bytes() -> impl Strategy<Value = Vec<u8>> {
    let parts: Vec<&[u8]> = vec![
        b"\xE2\x82\xAC",
        b"\xF0\x9F\x98\x80",
        b"\xED\xA0\x80",
        b"\xF4\x90\x80\x80",
        b"\xC0\x80",
        b"\xF0\x9F",
        b"\xE2\x82",
        b"a",
    ];
    let piece = prop_oneof![
        any::<char>().prop_map(|character| character.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 1..4),
        proptest::sample::select(parts).prop_map(<[u8]>::to_vec),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Cuts `items` into pieces of the given lengths, and one for the rest.
fn cut<T: Clone>(items: &[T], lengths: &[usize]) -> Vec<Vec<T>> {
    let mut rest = items;
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces
}

/// Where the stop string starts that is complete first (then: starts earliest, is listed first), and which.
fn naive_stop(text: &str, stop: &[String]) -> Option<(usize, usize)> {
    let stop = stop.iter().enumerate().filter(|(_, stop)| !stop.is_empty());
    let found = stop.filter_map(|(index, stop)| {
        let start = text.find(stop.as_str())?;
        Some((start + stop.len(), start, index))
    });
    found.min().map(|(_, start, index)| (start, index))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn streamed_text_is_the_text_of_all_bytes(
        bytes in text_like_bytes(),
        lengths in proptest::collection::vec(0_usize..5, 0..12),
    ) {
        let tokens = cut(&bytes, &lengths);
        let vocabulary = Arc::new(Vocabulary::from_tokens(&tokens, vec![]).unwrap());
        let mut detokenizer = Detokenizer::new(vocabulary, true);
        let mut streamed = String::new();
        let mut num_bytes = 0;
        for (id, token) in tokens.iter().enumerate() {
            num_bytes += token.len();
            streamed.push_str(detokenizer.push(id as u32));
            // What is out begins the text of the bytes so far; only a broken last character may be missing.
            let so_far = String::from_utf8_lossy(&bytes[..num_bytes]).into_owned();
            prop_assert!(so_far.starts_with(&streamed));
            let missing = &so_far[streamed.len()..];
            prop_assert!(missing.is_empty() || missing == REPLACEMENT);
        }
        streamed.push_str(detokenizer.finish());
        prop_assert_eq!(streamed, String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn stop_strings_cut_where_the_plain_search_cuts(
        text in "[abé]{0,24}",
        stop in proptest::collection::vec("[abé]{0,5}", 0..4),
        lengths in proptest::collection::vec(0_usize..6, 0..12),
    ) {
        let characters: Vec<char> = text.chars().collect();
        let mut matcher = StopMatcher::new(&stop);
        let (mut given, mut shown) = (String::new(), String::new());
        let mut matched = None;
        for piece in cut(&characters, &lengths) {
            let piece: String = piece.into_iter().collect();
            given.push_str(&piece);
            let outcome = matcher.push(&piece);
            shown.push_str(&outcome.emit);
            matched = outcome.matched;
            if let Some((start, index)) = naive_stop(&given, &stop) {
                prop_assert_eq!(matched, Some(index));
                prop_assert_eq!(&shown, &given[..start]);
                continue;
            }
            prop_assert_eq!(matched, None);
            // What could become a stop string is held back, and nothing else.
            let is_beginning = |end: &str| stop.iter().any(|stop| stop.starts_with(end));
            let held_back = &given[shown.len()..];
            prop_assert!(held_back.is_empty() || is_beginning(held_back));
            for (position, _) in shown.char_indices() {
                prop_assert!(!is_beginning(&given[position..]));
            }
        }
        shown.push_str(&matcher.finish());
        let expected = match naive_stop(&text, &stop) {
            Some((start, index)) => (&text[..start], Some(index)),
            None => (text.as_str(), None),
        };
        prop_assert_eq!((shown.as_str(), matched), expected);
    }
}
