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

/// A token to look for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecialText<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) id: TokenId,
    /// Whether blanks after the token belong to it.
    pub(crate) takes_blanks_after: bool,
}

/// A set of tokens to look for.
#[derive(Debug, Clone)]
pub(crate) struct SpecialMatcher {
    texts: TextTable,
    /// For each number in `texts`.
    tokens: Vec<(TokenId, bool)>,
    /// The longest first.
    groups: Vec<LengthGroup>,
    first_bytes: [bool; 256],
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
            matcher
                .tokens
                .push((special.id, special.takes_blanks_after));
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

    /// Cuts a prompt at its special tokens.
    pub(crate) fn split(&self, prompt: &str) -> Vec<Fragment> {
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
                        self.cut(group, bytes, range, (&candidates, &mut finer));
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
        group: &LengthGroup,
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
            let (id, takes_blanks_after) = self.tokens[number as usize];
            if start < position {
                finer.push(Fragment::Text(start..position));
            }
            finer.push(Fragment::Token(id));
            start = end;
            if takes_blanks_after {
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
        let texts = specials.iter().enumerate().map(|(id, text)| SpecialText {
            text: text.as_bytes(),
            id: id as TokenId,
            takes_blanks_after,
        });
        let fragments = SpecialMatcher::new(texts).split(prompt);
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
}
