//! One answer as far as its grammar has come.

use std::sync::Arc;

use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

use super::vocabulary::GrammarVocabulary;
use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::sampling::Allowed;

/// Where in an answer its grammar begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Once this text has been written, marks counted; at once where there is none.
    pub after: Option<String>,
}

/// What an answer may go on with.
pub struct Constraint {
    matcher: Matcher,
    vocabulary: Arc<GrammarVocabulary>,
    /// `None` once the grammar has begun.
    free: Option<Free>,
    mask: SimpleVob,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Constraint").field("free", &self.free).finish_non_exhaustive()
    }
}

/// The text before a grammar begins.
#[derive(Debug)]
struct Free {
    /// What ends it.
    after: Vec<u8>,
    /// The last bytes that were written, one fewer than those.
    tail: Vec<u8>,
}

/// Where a token would leave the text before a grammar.
#[derive(Debug, PartialEq, Eq)]
enum Reaches {
    Before,
    /// It ends that text.
    End,
    /// It ends it, and says something more.
    Beyond,
}

impl Free {
    fn with(&self, bytes: &[u8]) -> (Vec<u8>, Reaches) {
        let text = [&self.tail, bytes].concat();
        let length = self.after.len();
        let found = text.windows(length).position(|part| part == self.after);
        let reaches = match found {
            None => Reaches::Before,
            Some(place) if place + length == text.len() => Reaches::End,
            Some(_) => Reaches::Beyond,
        };
        (text, reaches)
    }

    fn keep(&mut self, mut text: Vec<u8>) {
        let kept = text.len().min(self.after.len() - 1);
        self.tail = text.split_off(text.len() - kept);
    }
}

impl Constraint {
    pub(super) fn new(matcher: Matcher, vocabulary: Arc<GrammarVocabulary>, start: &Start) -> Self {
        let after = start.after.as_deref().filter(|text| !text.is_empty());
        Self {
            matcher,
            vocabulary,
            free: after.map(|text| Free {
                after: text.as_bytes().to_vec(),
                tail: Vec::new(),
            }),
            mask: SimpleVob::new(),
        }
    }

    /// Takes the token that was chosen; whether the answer is complete with it.
    pub fn accept(&mut self, token: TokenId) -> Result<bool> {
        let Some(free) = &mut self.free else {
            self.matcher.consume_token(token).map_err(failed)?;
            return Ok(self.matcher.is_stopped());
        };
        let bytes = self.vocabulary.tokens.bytes(token).unwrap_or_default();
        let (text, reaches) = free.with(bytes);
        if reaches == Reaches::Before {
            free.keep(text);
        } else {
            self.free = None;
        }
        Ok(false)
    }

    /// Before the grammar: every token but those that end the answer, or say more than the text's end.
    fn is_free_to_say(&self, free: &Free, token: TokenId) -> bool {
        let bytes = self.vocabulary.tokens.bytes(token).unwrap_or_default();
        !self.vocabulary.end_tokens.contains(&token) && free.with(bytes).1 != Reaches::Beyond
    }
}

impl Allowed for Constraint {
    fn allows(&mut self, token: TokenId) -> Result<bool> {
        if let Some(free) = &self.free {
            return Ok(self.is_free_to_say(free, token));
        }
        // Beyond the vocabulary there may be rows that no token has.
        if token as usize >= self.vocabulary.factory.tok_env().tok_trie().vocab_size() {
            return Ok(false);
        }
        let count = self.matcher.validate_tokens(&[token]).map_err(failed)?;
        Ok(count == 1)
    }

    fn mask(&mut self) -> Result<&[u32]> {
        self.mask = match &self.free {
            None => self.matcher.compute_mask().map_err(failed)?,
            Some(free) => {
                let size = self.vocabulary.factory.tok_env().tok_trie().vocab_size();
                let mut mask = SimpleVob::alloc(size);
                for token in 0..size {
                    mask.set(token, self.is_free_to_say(free, token as TokenId));
                }
                mask
            }
        };
        Ok(self.mask.as_slice())
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    let message = error.to_string();
    let line = message.lines().next().unwrap_or_default();
    Error::Generation(format!("the answer cannot go on by its grammar: {line}"))
}
