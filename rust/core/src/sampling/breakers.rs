//! Texts that no repetition goes on across: names before a colon, lines, quotations.

use std::sync::Arc;

use crate::ids::TokenId;
use crate::text::{Pattern, Vocabulary};

/// The texts, and how much of each the text so far ends with. Where they stand in tokens does not matter.
#[derive(Debug, Clone, Default)]
pub(super) struct Breakers {
    patterns: Vec<Pattern>,
    vocabulary: Option<Arc<Vocabulary>>,
}

impl Breakers {
    /// Without a vocabulary nothing breaks.
    pub(super) fn new(texts: &[String], vocabulary: Option<&Arc<Vocabulary>>) -> Self {
        let patterns = texts.iter().map(|text| Pattern::new(text.as_bytes()));
        Self {
            patterns: patterns.collect(),
            vocabulary: vocabulary.map(Arc::clone),
        }
    }

    /// The text goes on with the token; whether one of them is complete with it.
    pub(super) fn accept(&mut self, token: TokenId) -> bool {
        let Self {
            patterns,
            vocabulary,
        } = self;
        let mut is_complete = false;
        for byte in bytes(vocabulary.as_ref(), token) {
            for pattern in patterns.iter_mut() {
                is_complete |= pattern.advance(*byte);
            }
        }
        is_complete
    }

    /// Whether one would be complete with the token.
    pub(super) fn complete_with(&self, token: TokenId) -> bool {
        let bytes = bytes(self.vocabulary.as_ref(), token);
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.is_complete_within(bytes))
    }
}

/// What a token says, control tokens their names.
fn bytes(vocabulary: Option<&Arc<Vocabulary>>, token: TokenId) -> &[u8] {
    vocabulary
        .and_then(|vocabulary| vocabulary.bytes(token))
        .unwrap_or_default()
}
