//! Tokens to text, one token at a time, never half a character.
//!
//! A character may be spread over several tokens, so its first bytes wait here for the rest. Bytes that
//! cannot become a character are written as U+FFFD, one for each maximal part of a character, as
//! `String::from_utf8_lossy` and Python's `errors="replace"` do.

use std::sync::Arc;

use super::vocabulary::Vocabulary;
use crate::ids::TokenId;

/// The text of one sequence as it grows.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    vocabulary: Arc<Vocabulary>,
    skip_special: bool,
    /// Special tokens that are written though others are skipped.
    shown: Vec<TokenId>,
    /// The beginning of a character (at most three bytes) between two calls.
    pending: Vec<u8>,
    /// What the last call gave out; kept to reuse its memory.
    output: String,
}

impl Detokenizer {
    /// A detokenizer for one sequence; special tokens are written only if not `skip_special`.
    pub fn new(vocabulary: Arc<Vocabulary>, skip_special: bool) -> Self {
        Self {
            vocabulary,
            skip_special,
            shown: Vec::new(),
            pending: Vec::new(),
            output: String::new(),
        }
    }

    /// The same, but for the special tokens of these texts, which are written.
    #[must_use]
    pub fn showing(mut self, texts: &[String]) -> Self {
        let special = self.vocabulary.special().iter().copied();
        let is_shown = |token: &TokenId| {
            let bytes = self.vocabulary.bytes(*token).unwrap_or_default();
            texts.iter().any(|text| text.as_bytes() == bytes)
        };
        self.shown = special.filter(is_shown).collect();
        self
    }

    /// Adds a token and returns the characters that are now complete.
    ///
    /// An id outside the vocabulary adds nothing: models are often padded to more rows than there are tokens.
    pub fn push(&mut self, token: TokenId) -> &str {
        self.output.clear();
        let is_skipped =
            self.skip_special && self.vocabulary.is_special(token) && !self.shown.contains(&token);
        if let Some(bytes) = self.vocabulary.bytes(token).filter(|_| !is_skipped) {
            self.pending.extend_from_slice(bytes);
            let num_taken = take_complete(&self.pending, &mut self.output);
            self.pending.drain(..num_taken);
        }
        &self.output
    }

    /// Ends the sequence: an incomplete character becomes U+FFFD. Nothing is left afterwards.
    pub fn finish(&mut self) -> &str {
        self.output.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.output.push(char::REPLACEMENT_CHARACTER);
        }
        &self.output
    }
}

/// Writes everything but an incomplete last character, and returns how many bytes that were.
fn take_complete(bytes: &[u8], output: &mut String) -> usize {
    let mut start = 0;
    loop {
        let chunk = match std::str::from_utf8(&bytes[start..]) {
            Ok(text) => {
                output.push_str(text);
                return bytes.len();
            }
            Err(error) => error,
        };
        let end = start + chunk.valid_up_to();
        output.push_str(std::str::from_utf8(&bytes[start..end]).unwrap_or_default());
        match chunk.error_len() {
            None => return end,
            Some(num_invalid) => {
                output.push(char::REPLACEMENT_CHARACTER);
                start = end + num_invalid;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detokenizer(tokens: &[&[u8]], special: Vec<TokenId>, skip_special: bool) -> Detokenizer {
        let vocabulary = Vocabulary::from_tokens(tokens, special).unwrap();
        Detokenizer::new(Arc::new(vocabulary), skip_special)
    }

    #[test]
    fn holds_back_the_beginning_of_a_character() {
        let mut text = detokenizer(&[b"a\xF0\x9F", b"\x98", b"\x80b"], vec![], true);
        assert_eq!(text.push(0), "a");
        assert_eq!(text.push(1), "");
        assert_eq!(text.push(2), "😀b");
        assert_eq!(text.finish(), "");
    }

    #[test]
    fn broken_characters_become_replacement_characters() {
        let mut text = detokenizer(&[b"\xE2\x82", b"x\xFF", b"\xC3"], vec![], true);
        assert_eq!(text.push(0), "");
        assert_eq!(text.push(1), "\u{FFFD}x\u{FFFD}");
        assert_eq!(text.push(2), "");
        assert_eq!(text.finish(), "\u{FFFD}");
        assert_eq!(text.finish(), "");
    }

    #[test]
    fn special_tokens_are_skipped_or_written_and_unknown_ids_ignored() {
        let tokens: &[&[u8]] = &[b"<s>", b"hi"];
        let mut skipping = detokenizer(tokens, vec![0], true);
        assert_eq!([skipping.push(0), ""].concat(), "");
        assert_eq!(skipping.push(1), "hi");
        assert_eq!(skipping.push(7), "");
        assert_eq!(detokenizer(tokens, vec![0], false).push(0), "<s>");
        let shown = ["<s>".to_owned(), "hi".to_owned(), "none".to_owned()];
        let mut showing = detokenizer(tokens, vec![0], true).showing(&shown);
        assert_eq!(showing.push(0), "<s>");
        assert_eq!(showing.push(1), "hi");
    }
}
