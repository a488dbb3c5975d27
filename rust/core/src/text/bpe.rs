//! Byte-level byte pair encoding: within each word, the earliest merge of the list first.
//!
//! Everything works on numbers: each byte has a piece, and a table says which two pieces make which third.
//! Pieces are the tokens, and after them texts that only the merges know.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::byte_map::BYTE_TO_CHAR;
use super::pre_tokenizer::PreTokenizer;
use super::source::VocabularySource;
use super::table::{TextTable, Words, mix};
use crate::ids::TokenId;

/// A byte whose character is neither a token nor part of a merge; it is left out of the output.
const NO_PIECE: u32 = u32::MAX;
/// Before the first and after the last symbol.
const NO_SYMBOL: u32 = u32::MAX;

/// The merges of one model.
#[derive(Debug, Clone)]
pub(crate) struct Bpe {
    pre_tokenizer: PreTokenizer,
    ignore_merges: bool,
    merges: MergeTable,
    byte_pieces: Vec<u32>,
    num_tokens: u32,
    /// For each piece after the tokens: the tokens that are written for it.
    substitutes: Vec<Vec<TokenId>>,
}

/// One piece of the word in work; a doubly linked list by index.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    piece: u32,
    /// In bytes; 0 once it was merged into its left neighbour.
    length: u32,
    previous: u32,
    next: u32,
}

/// A merge that is possible as long as both symbols are what they were; ordered by rank, then position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: u32,
    right: u32,
    merged: u32,
    length: u32,
}

/// Buffers that live as long as one call.
#[derive(Debug, Default)]
pub(crate) struct BpeScratch {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Reverse<Candidate>>,
    written: String,
}

impl Bpe {
    /// Numbers all pieces and merges.
    pub(crate) fn new(
        source: &VocabularySource<'_>,
        words: Words<'_>,
        pre_tokenizer: PreTokenizer,
        ignore_merges: bool,
    ) -> Self {
        let texts = words.texts;
        let num_tokens = texts.len() as u32;
        let mut extras = TextTable::with_capacity(0, 0);
        let mut merges = MergeTable::with_capacity(source.merges.len());
        let mut joined = Vec::new();
        for (rank, merge) in source.merges.iter().enumerate() {
            let merge = merge.as_bytes();
            // The first space may be part of the left text; the one between the texts never comes first.
            let Some(space) = merge.iter().skip(1).position(|&byte| byte == b' ') else {
                continue;
            };
            let (left, right) = (&merge[..=space], &merge[space + 2..]);
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let [left, right, merged] = [left, right, &joined].map(|text| {
                let mut extra = || extras.find(text).unwrap_or_else(|| extras.push(text));
                texts.find(text).unwrap_or_else(|| num_tokens + extra())
            });
            if !words.is_mark(merged) {
                merges.insert(left, right, (rank as u32, merged));
            }
        }
        let substitutes = (0..extras.len() as u32).filter_map(|number| extras.get(number));
        let substitutes = substitutes
            .map(|text| single_byte_tokens(text, texts))
            .collect();
        let mut buffer = [0; 4];
        let byte_pieces = BYTE_TO_CHAR.iter().map(|character| {
            let text = character.encode_utf8(&mut buffer).as_bytes();
            let extra = || extras.find(text).map(|number| num_tokens + number);
            texts.find(text).or_else(extra).unwrap_or(NO_PIECE)
        });
        Self {
            byte_pieces: byte_pieces.collect(),
            pre_tokenizer,
            ignore_merges,
            merges,
            num_tokens,
            substitutes,
        }
    }

    /// Adds the tokens of a text without special tokens.
    pub(crate) fn encode(
        &self,
        words: Words<'_>,
        text: &str,
        scratch: &mut BpeScratch,
        output: &mut Vec<TokenId>,
    ) {
        for word in self.pre_tokenizer.split(text) {
            let word = &text.as_bytes()[word];
            if self.ignore_merges {
                scratch.written.clear();
                scratch
                    .written
                    .extend(word.iter().map(|&byte| BYTE_TO_CHAR[byte as usize]));
                if let Some(id) = words.find(scratch.written.as_bytes()) {
                    output.push(id);
                    continue;
                }
            }
            self.encode_word(word, scratch, output);
        }
    }

    fn encode_word(&self, word: &[u8], scratch: &mut BpeScratch, output: &mut Vec<TokenId>) {
        let BpeScratch { symbols, queue, .. } = scratch;
        symbols.clear();
        queue.clear();
        for (index, &byte) in word.iter().enumerate() {
            let index = index as u32;
            symbols.push(Symbol {
                piece: self.byte_pieces[byte as usize],
                length: 1,
                previous: index.wrapping_sub(1),
                next: index + 1,
            });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NO_SYMBOL;
        }
        for left in 1..symbols.len() as u32 {
            queue.extend(self.candidate(symbols, left - 1, left));
        }
        while let Some(Reverse(candidate)) = queue.pop() {
            let (left, right) = (candidate.left, candidate.right);
            let right_symbol = symbols[right as usize];
            let left_symbol = &mut symbols[left as usize];
            let is_stale = left_symbol.length == 0
                || right_symbol.length == 0
                || left_symbol.length + right_symbol.length != candidate.length;
            if is_stale {
                continue;
            }
            left_symbol.piece = candidate.merged;
            left_symbol.length = candidate.length;
            left_symbol.next = right_symbol.next;
            let (previous, next) = (left_symbol.previous, left_symbol.next);
            symbols[right as usize].length = 0;
            if next != NO_SYMBOL {
                symbols[next as usize].previous = left;
            }
            queue.extend(self.candidate(symbols, previous, left));
            queue.extend(self.candidate(symbols, left, next));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            self.write(symbol.piece, output);
        }
    }

    fn candidate(&self, symbols: &[Symbol], left: u32, right: u32) -> Option<Reverse<Candidate>> {
        let (first, second) = (symbols.get(left as usize)?, symbols.get(right as usize)?);
        let (rank, merged) = self.merges.find(first.piece, second.piece)?;
        Some(Reverse(Candidate {
            rank,
            left,
            right,
            merged,
            length: first.length + second.length,
        }))
    }

    fn write(&self, piece: u32, output: &mut Vec<TokenId>) {
        if piece < self.num_tokens {
            output.push(piece);
        } else if let Some(tokens) = self.substitutes.get((piece - self.num_tokens) as usize) {
            output.extend_from_slice(tokens);
        }
    }
}

/// The tokens for a text that is none itself: its ASCII characters that are tokens, nothing for others.
fn single_byte_tokens(text: &[u8], texts: &TextTable) -> Vec<TokenId> {
    text.iter()
        .filter_map(|byte| texts.find(&[*byte]))
        .collect()
}

/// Pairs of pieces to the rank of their merge and the piece it makes; open addressing.
#[derive(Debug, Clone)]
struct MergeTable {
    slots: Vec<MergeSlot>,
}

#[derive(Debug, Clone, Copy)]
struct MergeSlot {
    left: u32,
    right: u32,
    rank: u32,
    merged: u32,
}

const EMPTY: MergeSlot = MergeSlot {
    left: NO_PIECE,
    right: NO_PIECE,
    rank: 0,
    merged: 0,
};

impl MergeTable {
    /// A table for at most so many merges.
    fn with_capacity(num_merges: usize) -> Self {
        Self {
            slots: vec![EMPTY; (num_merges + num_merges / 2 + 1).next_power_of_two()],
        }
    }

    /// Adds a merge; of equal pairs the first one counts.
    fn insert(&mut self, left: u32, right: u32, (rank, merged): (u32, u32)) {
        let position = self.position(left, right);
        let slot = &mut self.slots[position];
        if slot.left == NO_PIECE {
            *slot = MergeSlot {
                left,
                right,
                rank,
                merged,
            };
        }
    }

    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let slot = self.slots[self.position(left, right)];
        (slot.left != NO_PIECE).then_some((slot.rank, slot.merged))
    }

    /// Where a pair is, or the empty slot where it would go.
    fn position(&self, left: u32, right: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut position = mix(0, u64::from(left) << 32 | u64::from(right)) as usize & mask;
        loop {
            let slot = self.slots[position];
            let is_here = slot.left == left && slot.right == right;
            if is_here || slot.left == NO_PIECE {
                return position;
            }
            position = (position + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pre_tokenizer::pre_type;
    use super::*;

    fn encode(tokens: &[&str], merges: &[&str], text: &str) -> Vec<TokenId> {
        let source = VocabularySource {
            model: "gpt2",
            tokens,
            merges,
            ..VocabularySource::default()
        };
        let mut texts = TextTable::with_capacity(tokens.len(), source.num_bytes());
        for token in tokens {
            texts.push(token.as_bytes());
        }
        let pre_tokenizer = PreTokenizer::new(pre_type("gpt-2").unwrap()).unwrap();
        let mut output = Vec::new();
        let words = Words {
            texts: &texts,
            marks: &[],
        };
        Bpe::new(&source, words, pre_tokenizer, false).encode(
            words,
            text,
            &mut BpeScratch::default(),
            &mut output,
        );
        output
    }

    #[test]
    fn the_earliest_merge_wins_then_the_leftmost() {
        let tokens = ["a", "b", "c", "ab", "bc", "abc", "aa", "Ġ", "Ġa"];
        assert_eq!(encode(&tokens, &["b c", "a b", "a bc"], "abc"), [5]);
        assert_eq!(encode(&tokens, &["a b", "b c"], "abc"), [3, 2]);
        assert_eq!(encode(&tokens, &["a a"], "aaaaa"), [6, 6, 0]);
        assert_eq!(encode(&tokens, &["Ġ a", "a b"], "a ab"), [0, 8, 1]);
    }

    #[test]
    fn unknown_bytes_are_left_out_and_half_made_merges_fall_apart() {
        assert_eq!(
            encode(&["a", "b"], &["a b", "a  b", "broken"], "abxab"),
            [0, 1, 0, 1]
        );
        assert!(encode(&["a"], &["Ġ Ġ"], "  ").is_empty());
    }

    #[test]
    fn long_words_do_not_take_quadratic_time() {
        let text = "a".repeat(1 << 17);
        assert_eq!(encode(&["a", "aa"], &["a a"], &text).len(), 1 << 16);
    }
}
