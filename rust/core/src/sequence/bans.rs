//! What must not be drawn: ends of an answer before their time, and what would complete a text that must not be in it.

use std::sync::Arc;

use crate::ids::TokenId;
use crate::text::{Pattern, Vocabulary};

/// Draws that are refused one by one; after so many all tokens are looked at once.
const MOST_REFUSED: usize = 8;

/// The texts that must not be in an answer, and how much of each it ends with.
#[derive(Debug)]
pub(super) struct Bans {
    patterns: Vec<Pattern>,
    vocabulary: Arc<Vocabulary>,
}

impl Bans {
    /// `None` where nothing is banned.
    pub(super) fn new(texts: &[String], vocabulary: Option<&Arc<Vocabulary>>) -> Option<Self> {
        let vocabulary = vocabulary.filter(|_| !texts.is_empty())?;
        let patterns = texts.iter().map(|text| Pattern::new(text.as_bytes()));
        Some(Self {
            patterns: patterns.collect(),
            vocabulary: Arc::clone(vocabulary),
        })
    }

    /// Whether a text is complete with the token.
    pub(super) fn complete_with(&self, token: TokenId) -> bool {
        let bytes = self.bytes(token);
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.is_complete_within(bytes))
    }

    /// Adds a token that was drawn and is refused; after some of them, all that would be.
    pub(super) fn refuse(&self, token: TokenId, banned: &mut Vec<TokenId>) {
        banned.push(token);
        if banned.len().is_multiple_of(MOST_REFUSED) {
            let tokens = 0..self.vocabulary.len() as TokenId;
            banned.extend(tokens.filter(|token| self.complete_with(*token)));
        }
    }

    /// The answer goes on with the token.
    pub(super) fn accept(&mut self, token: TokenId) {
        let vocabulary = Arc::clone(&self.vocabulary);
        for byte in shown(&vocabulary, token) {
            for pattern in &mut self.patterns {
                pattern.advance(*byte);
            }
        }
    }

    fn bytes(&self, token: TokenId) -> &[u8] {
        shown(&self.vocabulary, token)
    }
}

/// What a token adds to a text.
fn shown(vocabulary: &Vocabulary, token: TokenId) -> &[u8] {
    let bytes = vocabulary.bytes(token);
    bytes
        .filter(|_| !vocabulary.is_special(token))
        .unwrap_or_default()
}
