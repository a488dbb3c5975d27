//! Finds the texts of special tokens in a prompt, before anything else looks at it.
//!
//! The longest texts are looked for first, over the whole prompt, each from left to right in what the longer
//! ones left over (so a short token at the front does not hide a longer one that overlaps it).

use std::ops::Range;

use super::table::TextTable;
use crate::ids::TokenId;

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// Bytes of the prompt that are text.
    Text(Range<usize>),
    /// A special token that stood there.
    Token(TokenId),
}

/// Where in a prompt the texts of marks are taken for their tokens; elsewhere they are text like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkPlaces<'a> {
    /// Everywhere: the prompt is its writer's own.
    Everywhere,
    /// Within these ranges of bytes, in ascending order and apart; other tokens are looked for outside of them.
    Within(&'a [Range<usize>]),
}

impl MarkPlaces<'_> {
    fn allow(self, found: &Range<usize>, is_mark: bool) -> bool {
        let MarkPlaces::Within(places) = self else {
            return true;
        };
        let next = places.partition_point(|place| place.end <= found.start);
        match places.get(next) {
            Some(place) if is_mark => place.start <= found.start && found.end <= place.end,
            Some(place) => found.end <= place.start,
            None => !is_mark,
        }
    }
}

/// A token to look for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecialText<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) id: TokenId,
    /// Whether it steers the model, so that text must not make it.
    pub(crate) is_mark: bool,
    /// Whether blanks after the token belong to it.
    pub(crate) takes_blanks_after: bool,
}

/// A set of tokens to look for.
#[derive(Debug, Clone)]
pub(crate) struct SpecialMatcher {
    texts: TextTable,
    /// For each number in `texts`.
    tokens: Vec<Found>,
    /// The longest first.
    groups: Vec<LengthGroup>,
    first_bytes: [bool; 256],
}

/// What stands for a text that was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    id: TokenId,
    is_mark: bool,
    takes_blanks_after: bool,
}

/// What texts of one length begin with.
#[derive(Debug, Clone)]
struct LengthGroup {
    length: usize,
    first_bytes: [bool; 256],
}

impl SpecialMatcher {
    /// A matcher for these tokens; empty texts are never found.
    pub(crate) fn new<'a>(specials: impl Iterator<Item = SpecialText<'a>>) -> Self {
        let mut matcher = Self {
            texts: TextTable::with_capacity(0, 0),
            tokens: Vec::new(),
            groups: Vec::new(),
            first_bytes: [false; 256],
        };
        for special in specials {
            let Some(&first) = special.text.first() else {
                continue;
            };
            matcher.texts.push(special.text);
            matcher.tokens.push(Found {
                id: special.id,
                is_mark: special.is_mark,
                takes_blanks_after: special.takes_blanks_after,
            });
            matcher.first_bytes[first as usize] = true;
            let length = special.text.len();
            let index = match matcher
                .groups
                .binary_search_by(|group| length.cmp(&group.length))
            {
                Ok(index) => index,
                Err(index) => {
                    let group = LengthGroup {
                        length,
                        first_bytes: [false; 256],
                    };
                    matcher.groups.insert(index, group);
                    index
                }
            };
            matcher.groups[index].first_bytes[first as usize] = true;
        }
        matcher
    }

    /// Cuts a prompt at its special tokens, of which the marks count in their places only.
    pub(crate) fn split(&self, prompt: &str, marks: MarkPlaces<'_>) -> Vec<Fragment> {
        let bytes = prompt.as_bytes();
        if bytes.is_empty() {
            return Vec::new();
        }
        let mut fragments = vec![Fragment::Text(0..bytes.len())];
        let candidates: Vec<usize> = (0..bytes.len())
            .filter(|&position| self.first_bytes[bytes[position] as usize])
            .collect();
        if candidates.is_empty() {
            return fragments;
        }
        for group in &self.groups {
            let mut finer = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                match fragment {
                    Fragment::Text(range) => {
                        self.cut((group, marks), bytes, range, (&candidates, &mut finer));
                    }
                    Fragment::Token(_) => finer.push(fragment),
                }
            }
            fragments = finer;
        }
        fragments
    }

    /// Cuts one stretch of text at the tokens of one length.
    fn cut(
        &self,
        (group, marks): (&LengthGroup, MarkPlaces<'_>),
        bytes: &[u8],
        range: Range<usize>,
        (candidates, finer): (&[usize], &mut Vec<Fragment>),
    ) {
        let mut start = range.start;
        let first = candidates.partition_point(|&position| position < range.start);
        for &position in &candidates[first..] {
            let end = position + group.length;
            if end > range.end {
                break;
            }
            if position < start || !group.first_bytes[bytes[position] as usize] {
                continue;
            }
            let Some(number) = self.texts.find(&bytes[position..end]) else {
                continue;
            };
            let found = self.tokens[number as usize];
            if !marks.allow(&(position..end), found.is_mark) {
                continue;
            }
            if start < position {
                finer.push(Fragment::Text(start..position));
            }
            finer.push(Fragment::Token(found.id));
            start = end;
            if found.takes_blanks_after {
                let blanks = bytes[end..range.end].iter();
                start += blanks
                    .take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r'))
                    .count();
            }
        }
        if start < range.end {
            finer.push(Fragment::Text(start..range.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(specials: &[&str], prompt: &str, takes_blanks_after: bool) -> Vec<String> {
        split_at(
            (specials, specials),
            (prompt, MarkPlaces::Everywhere),
            takes_blanks_after,
        )
    }

    /// The tokens of which some are marks, and the places of these.
    fn split_at(
        (specials, marks): (&[&str], &[&str]),
        (prompt, places): (&str, MarkPlaces<'_>),
        takes_blanks_after: bool,
    ) -> Vec<String> {
        let texts = specials.iter().enumerate().map(|(id, text)| SpecialText {
            text: text.as_bytes(),
            id: id as TokenId,
            is_mark: marks.contains(text),
            takes_blanks_after,
        });
        let fragments = SpecialMatcher::new(texts).split(prompt, places);
        let shown = fragments.into_iter().map(|fragment| match fragment {
            Fragment::Text(range) => prompt[range].to_owned(),
            Fragment::Token(id) => format!("#{id}"),
        });
        shown.collect()
    }

    #[test]
    fn cuts_at_special_tokens() {
        assert_eq!(
            split(&["<s>", "</s>"], "<s>hi</s></s> ", false),
            ["#0", "hi", "#1", "#1", " "]
        );
        assert_eq!(split(&["<s>"], "< s><s", false), ["< s><s"]);
        assert!(split(&["<s>"], "", false).is_empty());
        assert_eq!(split(&[""], "ab", false), ["ab"]);
    }

    #[test]
    fn longer_texts_come_first_wherever_they_stand() {
        assert_eq!(split(&["ab", "bcd"], "abcd", false), ["a", "#1"]);
        assert_eq!(
            split(&["\n", "\n\n\n"], "\n\n\n\n\n", false),
            ["#1", "#0", "#0"]
        );
    }

    #[test]
    fn blanks_after_a_token_may_belong_to_it() {
        assert_eq!(
            split(&["<|end|>"], "<|end|> \n\tx <|end|>  ", true),
            ["#0", "x ", "#0"]
        );
    }

    #[test]
    fn marks_count_in_their_places_only() {
        let within = |places: &[(usize, usize)], prompt: &str, takes_blanks_after: bool| {
            let places: Vec<_> = places.iter().map(|&(begin, end)| begin..end).collect();
            let specials = (&["<s>", "<t>", "t><"][..], &["<s>"][..]);
            split_at(
                specials,
                (prompt, MarkPlaces::Within(&places)),
                takes_blanks_after,
            )
        };
        assert_eq!(within(&[], "<s><t>", false), ["<s>", "#1"]);
        assert_eq!(within(&[(0, 3)], "<s><s>", false), ["#0", "<s>"]);
        assert_eq!(
            within(&[(0, 3), (6, 9)], "<s><s><s>", false),
            ["#0", "<s>", "#0"]
        );
        assert_eq!(within(&[(0, 6)], "<s><s>", false), ["#0", "#0"]);
        // Partly in its place is not in it.
        assert_eq!(within(&[(0, 2)], "<s>", false), ["<s>"]);
        assert_eq!(within(&[(1, 3)], "<s>", false), ["<s>"]);
        // What is no mark neither stands in such a place nor reaches into one.
        assert_eq!(within(&[(3, 6)], "<t><s>", false), ["#1", "#0"]);
        assert_eq!(within(&[(3, 6)], " t><s>", false), [" t>", "#0"]);
        assert_eq!(within(&[(0, 3)], "<s>  x <s> ", true), ["#0", "x <s> "]);
    }
}
