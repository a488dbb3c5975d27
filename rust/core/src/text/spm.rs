//! SentencePiece by score: of all neighbours that make a token together, the best-scored first.
//!
//! The text is one word; blanks are written as "▁" before it comes here. What is no token in the end is
//! written byte by byte as "<0x00>" to "<0xFF>".

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::source::VocabularySource;
use super::table::{TextTable, Words};
use crate::error::{Error, Result};
use crate::ids::TokenId;

/// The writing of a blank inside tokens.
pub(crate) const BLANK: &str = "\u{2581}";
/// Before the first and after the last symbol.
const NO_SYMBOL: u32 = u32::MAX;

/// The scores of one model.
#[derive(Debug, Clone)]
pub(crate) struct Spm {
    scores: Vec<f32>,
    byte_tokens: Vec<Option<TokenId>>,
    unknown: Option<TokenId>,
    longest_token: usize,
}

/// A stretch of the text; a doubly linked list by index.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: u32,
    /// In bytes; 0 once it was merged into its left neighbour.
    length: u32,
    previous: u32,
    next: u32,
}

/// A merge that is possible as long as both symbols are what they were.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    score: f32,
    left: u32,
    right: u32,
    length: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    /// The best-scored is the greatest, then the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Buffers that live as long as one call.
#[derive(Debug, Default)]
pub(crate) struct SpmScratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl Spm {
    /// Reads scores and byte tokens.
    pub(crate) fn new(
        source: &VocabularySource<'_>,
        texts: &TextTable,
        unknown: Option<TokenId>,
    ) -> Self {
        let byte_token = |byte: u8| {
            let written = texts.find(format!("<0x{byte:02X}>").as_bytes());
            written.or_else(|| texts.find(&[byte]))
        };
        let mut scores = vec![0.0; source.tokens.len()];
        for (score, &stated) in scores.iter_mut().zip(source.scores) {
            // Adding zero makes the two zeros one; a score that is no number comes last.
            *score = if stated.is_nan() {
                f32::NEG_INFINITY
            } else {
                stated + 0.0
            };
        }
        Self {
            scores,
            byte_tokens: (0..=255).map(byte_token).collect(),
            unknown,
            longest_token: source
                .tokens
                .iter()
                .map(|text| text.len())
                .max()
                .unwrap_or(0),
        }
    }

    /// Adds the tokens of a text without special tokens, with its blanks already written as `BLANK`.
    pub(crate) fn encode(
        &self,
        words: Words<'_>,
        text: &str,
        scratch: &mut SpmScratch,
        output: &mut Vec<TokenId>,
    ) -> Result<()> {
        let SpmScratch { symbols, queue } = scratch;
        symbols.clear();
        queue.clear();
        for (index, (start, character)) in text.char_indices().enumerate() {
            symbols.push(Symbol {
                start: start as u32,
                length: character.len_utf8() as u32,
                previous: (index as u32).wrapping_sub(1),
                next: index as u32 + 1,
            });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NO_SYMBOL;
        }
        let text = text.as_bytes();
        for right in 1..symbols.len() as u32 {
            queue.extend(self.candidate(words, (text, symbols), right - 1, right));
        }
        while let Some(candidate) = queue.pop() {
            let (left, right) = (candidate.left, candidate.right);
            let right_symbol = symbols[right as usize];
            let left_symbol = &mut symbols[left as usize];
            let is_stale = left_symbol.length == 0
                || right_symbol.length == 0
                || left_symbol.length + right_symbol.length != candidate.length;
            if is_stale {
                continue;
            }
            left_symbol.length = candidate.length;
            left_symbol.next = right_symbol.next;
            let (previous, next) = (left_symbol.previous, left_symbol.next);
            symbols[right as usize].length = 0;
            if next != NO_SYMBOL {
                symbols[next as usize].previous = left;
            }
            queue.extend(self.candidate(words, (text, symbols), previous, left));
            queue.extend(self.candidate(words, (text, symbols), left, next));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let start = symbol.start as usize;
            self.write(words, &text[start..start + symbol.length as usize], output)?;
        }
        Ok(())
    }

    fn candidate(
        &self,
        words: Words<'_>,
        (text, symbols): (&[u8], &[Symbol]),
        left: u32,
        right: u32,
    ) -> Option<Candidate> {
        let (first, second) = (symbols.get(left as usize)?, symbols.get(right as usize)?);
        let length = (first.length + second.length) as usize;
        if length > self.longest_token {
            return None;
        }
        let start = first.start as usize;
        let id = words.find(&text[start..start + length])?;
        Some(Candidate {
            score: self.scores[id as usize],
            left,
            right,
            length: length as u32,
        })
    }

    fn write(&self, words: Words<'_>, piece: &[u8], output: &mut Vec<TokenId>) -> Result<()> {
        if let Some(id) = words.find(piece) {
            output.push(id);
            return Ok(());
        }
        for &byte in piece {
            let id = self.byte_tokens[byte as usize].or(self.unknown).ok_or_else(|| {
                Error::Tokenization(format!(
                    "the vocabulary has neither a token for byte 0x{byte:02X} nor one for unknown text"
                ))
            })?;
            output.push(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(
        tokens: &[(&str, f32)],
        unknown: Option<TokenId>,
        text: &str,
    ) -> Result<Vec<TokenId>> {
        let names: Vec<&str> = tokens.iter().map(|(text, _)| *text).collect();
        let scores: Vec<f32> = tokens.iter().map(|(_, score)| *score).collect();
        let source = VocabularySource {
            model: "llama",
            tokens: &names,
            scores: &scores,
            ..VocabularySource::default()
        };
        let mut texts = TextTable::with_capacity(names.len(), source.num_bytes());
        for name in &names {
            texts.push(name.as_bytes());
        }
        let mut output = Vec::new();
        let words = Words {
            texts: &texts,
            marks: &[],
        };
        Spm::new(&source, &texts, unknown).encode(
            words,
            text,
            &mut SpmScratch::default(),
            &mut output,
        )?;
        Ok(output)
    }

    const TOKENS: &[(&str, f32)] = &[
        ("a", -1.0),
        ("b", -1.0),
        ("c", -1.0),
        ("ab", -3.0),
        ("bc", -2.0),
        ("abc", -4.0),
        ("▁", -1.0),
        ("▁a", f32::NAN),
        ("<0xC3>", 0.0),
        ("<0xA9>", 0.0),
    ];

    #[test]
    fn the_best_score_wins_then_the_leftmost() {
        assert_eq!(encode(TOKENS, None, "abc").unwrap(), [5]);
        assert_eq!(encode(TOKENS, None, "abab").unwrap(), [3, 3]);
        assert_eq!(encode(TOKENS, None, "bbc").unwrap(), [1, 4]);
        assert_eq!(
            encode(&[("a", 0.0), ("aa", -0.0)], None, "aaa").unwrap(),
            [1, 0]
        );
        assert_eq!(encode(TOKENS, None, "▁a▁ab").unwrap(), [7, 6, 3]);
        assert!(encode(TOKENS, None, "").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_token_becomes_bytes_or_unknown_or_an_error() {
        assert_eq!(encode(TOKENS, None, "aé").unwrap(), [0, 8, 9]);
        assert_eq!(encode(TOKENS, Some(2), "x").unwrap(), [2]);
        let Err(Error::Tokenization(message)) = encode(TOKENS, None, "x") else {
            panic!("must be refused");
        };
        assert!(message.contains("0x78"), "{message}");
    }
}
