//! Cuts text into the words that byte-level BPE merges within.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use super::classes::{CharClass, CharClasses};
use super::pre_types::{PRE_TYPES, PreType, Step};
use super::word_rules::WordRule;
use crate::error::{Error, Result};

/// One model's way to cut text, ready to use.
#[derive(Debug, Clone)]
pub(crate) struct PreTokenizer {
    classes: CharClasses,
    passes: Vec<Pass>,
}

/// A `Step` with its regular expression compiled.
#[derive(Debug, Clone)]
enum Pass {
    Words(WordRule),
    EachNumber,
    Matches(Box<Regex>),
}

/// The pre-tokenizer of a name, or an error that lists the known names.
pub(crate) fn pre_type(name: &str) -> Result<&'static PreType> {
    let found = PRE_TYPES.iter().find(|pre| pre.names.contains(&name));
    found.ok_or_else(|| {
        let mut known: Vec<&str> = PRE_TYPES
            .iter()
            .flat_map(|pre| pre.names)
            .copied()
            .collect();
        known.sort_unstable();
        Error::Tokenization(format!(
            "unknown pre-tokenizer \"{name}\" (tokenizer.ggml.pre); known are {}",
            known.join(", ")
        ))
    })
}

impl PreTokenizer {
    /// Compiles the steps of a pre-tokenizer.
    pub(crate) fn new(pre: &PreType) -> Result<Self> {
        let passes = pre.steps.iter().map(|step| {
            Ok(match *step {
                Step::Words(rule) => Pass::Words(rule),
                Step::EachNumber => Pass::EachNumber,
                Step::Matches(pattern) => {
                    Pass::Matches(Box::new(Regex::new(pattern).map_err(|error| {
                        Error::Tokenization(format!(
                            "pre-tokenizer {}: {error}",
                            pre.names.join(", ")
                        ))
                    })?))
                }
            })
        });
        Ok(Self {
            classes: CharClasses::new()?,
            passes: passes.collect::<Result<_>>()?,
        })
    }

    /// Cuts `text` into words; together they are the text.
    pub(crate) fn split(&self, text: &str) -> Vec<Range<usize>> {
        let mut fragments = Vec::with_capacity(text.len() / 4 + 1);
        if !text.is_empty() {
            fragments.push(0..text.len());
        }
        let mut finer = Vec::with_capacity(fragments.capacity());
        for pass in &self.passes {
            for fragment in fragments.drain(..) {
                self.apply(pass, text, fragment, &mut finer);
            }
            std::mem::swap(&mut fragments, &mut finer);
        }
        fragments
    }

    /// Cuts one fragment. A pass sees nothing outside of it, not even in look-ahead.
    fn apply(
        &self,
        pass: &Pass,
        text: &str,
        fragment: Range<usize>,
        finer: &mut Vec<Range<usize>>,
    ) {
        let mut start = fragment.start;
        let mut cut = |found: Range<usize>| {
            if start < found.start {
                finer.push(start..found.start);
            }
            start = found.end;
            if !found.is_empty() {
                finer.push(found);
            }
        };
        match pass {
            Pass::Words(rule) => {
                let mut position = fragment.start;
                while position < fragment.end {
                    let length = rule.word_end(&text[position..fragment.end], &self.classes);
                    cut(position..position + length);
                    position += length;
                }
            }
            Pass::EachNumber => {
                for (index, character) in text[fragment.clone()].char_indices() {
                    if self.classes.of(character) == CharClass::Number {
                        let position = fragment.start + index;
                        cut(position..position + character.len_utf8());
                    }
                }
            }
            Pass::Matches(regex) => {
                // The end of the fragment is the end of the text for `$`; nothing looks back.
                let text = &text[..fragment.end];
                let mut position = fragment.start;
                while let Some(found) = regex.find(Input::new(text).range(position..)) {
                    position = self.match_end(text, found.range());
                    cut(found.start()..position);
                }
            }
        }
        cut(fragment.end..fragment.end);
    }

    /// Where a match ends: `\s+` leaves its last blank to the word after it, if there are both.
    fn match_end(&self, text: &str, found: Range<usize>) -> usize {
        let mut last_first = text[found.clone()].chars().rev();
        let is_blank = |character: char| self.classes.of(character) == CharClass::Space;
        match last_first.next() {
            Some(last) if is_blank(last) && !matches!(last, '\r' | '\n') => {
                let is_alone = last.len_utf8() == found.len() || found.end == text.len();
                let keeps_all = is_alone || !last_first.all(is_blank);
                found.end - if keeps_all { 0 } else { last.len_utf8() }
            }
            _ => found.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let splitter = PreTokenizer::new(pre_type(name).unwrap()).unwrap();
        let words = splitter.split(text);
        words.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_pre_tokenizer_compiles_and_loses_nothing() {
        let text =
            "Hello, wörld's  12345 ١٢٣\r\n\n\tif (x>=3) { 日本語。 } \u{3000}'LL e\u{301}🤖  ";
        for name in PRE_TYPES.iter().flat_map(|pre| pre.names) {
            assert_eq!(split(name, text).concat(), text, "{name}");
            assert!(split(name, "").is_empty(), "{name}");
        }
    }

    #[test]
    fn words_of_some_models() {
        assert_eq!(
            split("gpt-2", "I'm  here 2024!"),
            ["I", "'m", " ", " here", " 2024", "!"]
        );
        assert_eq!(split("smollm", "a  24"), ["a", "  ", "2", "4"]);
        assert_eq!(
            split("llama-bpe", "x=12345\n\n y"),
            ["x", "=", "123", "45", "\n\n", " y"]
        );
        assert_eq!(split("qwen2", "x=12"), ["x", "=", "1", "2"]);
        assert_eq!(
            split("tekken", "HelloWorld नमस्ते"),
            ["Hello", "World", " नमस्ते"]
        );
        assert_eq!(
            split("default", "a+b 1234"),
            ["a", "+", "b", " ", "123", "4"]
        );
        assert_eq!(
            split("deepseek-v3", "foo.bar 1234"),
            ["foo", ".bar", " ", "123", "4"]
        );
    }

    /// `GgufTokenizer.cuts_lines` of the Python package promises it.
    #[test]
    fn a_line_s_end_and_a_letter_are_cut_whatever_stands_around_them() {
        let parts = [
            "", " ", "  ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}", "a", "B", "'s", "12", ".",
            "?!", "(", "日", "e\u{301}", "\u{301}", "🤖", "_", "`", "\0",
        ];
        for pre in PRE_TYPES {
            let name = pre.names[0];
            let splitter = PreTokenizer::new(pre).unwrap();
            let cuts = |text: &str| -> Vec<usize> {
                splitter.split(text).iter().map(|word| word.start).collect()
            };
            for (one, other) in parts.iter().flat_map(|one| parts.map(|other| (one, other))) {
                let before = format!("{one}{other}\n");
                assert_eq!(
                    cuts(&format!("{before}Q")).last(),
                    Some(&before.len()),
                    "{name}: {before:?}"
                );
                let behind = format!("Q{one}{other}");
                let rest = cuts(&behind);
                for left in ["a\n", " \n\n", &before] {
                    let found = cuts(&format!("{left}{behind}"));
                    let known = cuts(&format!("{left}Q"));
                    let moved = rest.iter().map(|start| start + left.len());
                    let wanted: Vec<usize> = known[..known.len() - 1]
                        .iter()
                        .copied()
                        .chain(moved)
                        .collect();
                    assert_eq!(found, wanted, "{name}: {left:?} {behind:?}");
                }
            }
        }
    }

    #[test]
    fn unknown_names_are_listed_against_the_known_ones() {
        let Err(Error::Tokenization(message)) = pre_type("klingon") else {
            panic!("must be refused");
        };
        assert!(
            message.contains("\"klingon\"") && message.contains("llama-bpe, "),
            "{message}"
        );
    }
}
