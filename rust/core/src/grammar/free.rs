//! The text before a grammar begins, which is free but for its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::toktrie::SimpleVob;

use crate::ids::TokenId;
use crate::text::Vocabulary;

/// So much white space may stand between the text after which a grammar begins and its first word.
pub(super) const GAP_BYTES: usize = 8;

/// Texts of which it is kept which tokens may overrun them: models have one or two.
const KEPT_TEXTS: usize = 8;

/// How far such a text has come.
#[derive(Debug)]
pub(super) struct Free {
    after: Arc<After>,
    /// The last bytes that were written, one fewer than those that end it.
    tail: Vec<u8>,
}

/// Where a token would leave the text before a grammar.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaches {
    Before,
    /// It ends that text, with so much white space after it.
    End(usize),
    /// It ends it, and says something more.
    Beyond,
}

/// What ends a free text, and what tokens have to do with it.
#[derive(Debug)]
pub(super) struct After {
    text: Vec<u8>,
    words: Words,
    /// Every token but those that end an answer.
    mask: SimpleVob,
    /// Those that may say more than the text's end, depending on what stands before them.
    suspects: Vec<TokenId>,
}

/// What tokens say.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) tokens: Arc<Vocabulary>,
    pub(super) end_tokens: Arc<[TokenId]>,
    /// How many tokens there are, ends of answers counted.
    pub(super) length: usize,
}

impl Words {
    /// What a token says; nothing for one that is none.
    pub(super) fn bytes_of(&self, token: TokenId) -> &[u8] {
        self.tokens.bytes(token).unwrap_or_default()
    }
}

/// What was made of such texts, for those who ask again.
#[derive(Debug, Default)]
pub(super) struct Afters(Mutex<HashMap<Vec<u8>, Arc<After>>>);

impl Afters {
    /// Looks through all tokens where the text is a new one.
    pub(super) fn get(&self, text: &str, words: &Words) -> Arc<After> {
        // What a panic leaves behind is a whole map.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_TEXTS && !kept.contains_key(text.as_bytes()) {
            kept.clear();
        }
        let made = || Arc::new(After::new(text.as_bytes(), words));
        let after = kept.entry(text.as_bytes().to_vec()).or_insert_with(made);
        Arc::clone(after)
    }
}

impl After {
    fn new(text: &[u8], words: &Words) -> Self {
        let mut mask = SimpleVob::alloc(words.length);
        mask.set_all(true);
        for token in words.end_tokens.iter() {
            mask.disallow_token(*token);
        }
        let overruns = |bytes: &[u8], end: usize| bytes.len() > end && !is_gap(&bytes[end..]);
        let is_suspect = |token: &TokenId| {
            let bytes = words.bytes_of(*token);
            // Of a longer end of the text nothing of the token would be left over.
            let mut begins = (text.len() + 1).saturating_sub(bytes.len()).max(1)..text.len();
            begins.any(|begin| {
                bytes.starts_with(&text[begin..]) && overruns(bytes, text.len() - begin)
            }) || place_of(bytes, text).is_some_and(|place| overruns(bytes, place + text.len()))
        };
        Self {
            text: text.to_vec(),
            words: words.clone(),
            mask,
            suspects: (0..words.length as TokenId).filter(is_suspect).collect(),
        }
    }
}

impl Free {
    /// Nothing of it is written.
    pub(super) fn new(after: Arc<After>) -> Self {
        Self {
            after,
            tail: Vec::new(),
        }
    }

    /// Takes a token that was written.
    pub(super) fn write(&mut self, token: TokenId) -> Reaches {
        let (mut text, reaches) = self.with(self.after.words.bytes_of(token));
        if reaches == Reaches::Before {
            let kept = text.len().min(self.after.text.len() - 1);
            self.tail = text.split_off(text.len() - kept);
        }
        reaches
    }

    /// Every token but those that end the answer, or say more than the text's end.
    pub(super) fn may_say(&self, token: TokenId) -> bool {
        let words = &self.after.words;
        (token as usize) < words.length
            && !words.end_tokens.contains(&token)
            && self.with(words.bytes_of(token)).1 != Reaches::Beyond
    }

    /// The same of all tokens.
    pub(super) fn mask(&self) -> SimpleVob {
        let mut mask = self.after.mask.clone();
        for token in &self.after.suspects {
            if !self.may_say(*token) {
                mask.disallow_token(*token);
            }
        }
        mask
    }

    fn with(&self, bytes: &[u8]) -> (Vec<u8>, Reaches) {
        let text = [&self.tail, bytes].concat();
        let end = place_of(&text, &self.after.text).map(|place| place + self.after.text.len());
        let reaches = match end.map(|end| &text[end..]) {
            None => Reaches::Before,
            Some(rest) if is_gap(rest) => Reaches::End(rest.len()),
            Some(_) => Reaches::Beyond,
        };
        (text, reaches)
    }
}

/// Whether bytes are white space that a gap has room for; none are.
pub(super) fn is_gap(bytes: &[u8]) -> bool {
    bytes.len() <= GAP_BYTES && bytes.iter().all(u8::is_ascii_whitespace)
}

fn place_of(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
