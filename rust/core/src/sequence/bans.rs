//! What may not come next in an answer: ends before their time, and tokens that complete a text that must not be in it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::grammar::Constraint;
use crate::ids::TokenId;
use crate::sampling::Allowed;
use crate::text::{Pattern, Vocabulary};

/// The texts that must not be in an answer, and how much of each it ends with.
#[derive(Debug)]
pub(super) struct Bans {
    patterns: Vec<Pattern>,
    vocabulary: Arc<Vocabulary>,
    /// Control tokens whose texts are part of the answer's.
    shown: Vec<String>,
    /// Tokens that have one of the texts whole, once somebody has looked for them.
    whole: Option<Vec<TokenId>>,
}

impl Bans {
    /// `None` where nothing is banned.
    pub(super) fn new(
        texts: &[String],
        vocabulary: Option<&Arc<Vocabulary>>,
        shown: &[String],
    ) -> Option<Self> {
        let vocabulary = vocabulary.filter(|_| !texts.is_empty())?;
        let patterns = texts.iter().map(|text| Pattern::new(text.as_bytes()));
        Some(Self {
            patterns: patterns.collect(),
            vocabulary: Arc::clone(vocabulary),
            shown: shown.to_vec(),
            whole: None,
        })
    }

    /// The answer goes on with the token.
    pub(super) fn accept(&mut self, token: TokenId) {
        let Self {
            patterns,
            vocabulary,
            shown,
            ..
        } = self;
        for byte in written(vocabulary, shown, token) {
            for pattern in patterns.iter_mut() {
                pattern.advance(*byte);
            }
        }
    }

    /// Whether a text is complete with the token.
    fn complete_with(&self, token: TokenId) -> bool {
        let bytes = written(&self.vocabulary, &self.shown, token);
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| pattern.is_complete_within(bytes))
    }

    /// Takes all tokens out of a mask that would complete a text.
    fn take_out(&mut self, mask: &mut [u32]) {
        let tokens = 0..self.vocabulary.len() as TokenId;
        let known = self.whole.take();
        let Self {
            vocabulary, shown, ..
        } = &*self;
        let whole = known.unwrap_or_else(|| {
            let fresh: Vec<_> = self.patterns.iter().map(Pattern::afresh).collect();
            let has_one = |token: &TokenId| {
                let bytes = written(vocabulary, shown, *token);
                fresh
                    .iter()
                    .any(|pattern| pattern.is_complete_within(bytes))
            };
            tokens.clone().filter(has_one).collect()
        });
        // Beyond these only a text that has begun can be completed.
        let begun = self.patterns.iter().filter(|pattern| pattern.has_begun());
        let begun: Vec<_> = begun.collect();
        let ends_one = |token: &TokenId| {
            let bytes = written(vocabulary, shown, *token);
            begun
                .iter()
                .any(|pattern| pattern.is_complete_within(bytes))
        };
        for token in &whole {
            clear(mask, *token);
        }
        if !begun.is_empty() {
            tokens.filter(ends_one).for_each(|token| clear(mask, token));
        }
        self.whole = Some(whole);
    }
}

/// What a token adds to the text of an answer.
fn written<'a>(vocabulary: &'a Vocabulary, shown: &[String], token: TokenId) -> &'a [u8] {
    let bytes = vocabulary.bytes(token).unwrap_or_default();
    let is_written =
        !vocabulary.is_special(token) || shown.iter().any(|text| text.as_bytes() == bytes);
    if is_written { bytes } else { &[] }
}

/// Takes a token out of a mask.
fn clear(mask: &mut [u32], token: TokenId) {
    if let Some(word) = mask.get_mut((token / u32::BITS) as usize) {
        *word &= !(1 << (token % u32::BITS));
    }
}

/// What may come next, where not only a grammar says so.
pub(super) struct MayCome<'a> {
    pub(super) constraint: Option<&'a mut Constraint>,
    pub(super) bans: Option<&'a mut Bans>,
    /// Tokens that would end the answer, where that is too early.
    pub(super) early: [&'a [TokenId]; 2],
    /// The model's tokens.
    pub(super) tokens: usize,
    pub(super) mask: Vec<u32>,
}

impl Allowed for MayCome<'_> {
    fn allows(&mut self, token: TokenId) -> Result<bool> {
        let is_early = self.early.iter().any(|ends| ends.contains(&token));
        let is_banned = |bans: &&mut Bans| bans.complete_with(token);
        if is_early || self.bans.as_ref().is_some_and(is_banned) {
            return Ok(false);
        }
        match &mut self.constraint {
            Some(constraint) => constraint.allows(token),
            None => Ok(true),
        }
    }

    fn mask(&mut self) -> Result<&[u32]> {
        self.mask.clear();
        if let Some(constraint) = &mut self.constraint {
            self.mask.extend_from_slice(constraint.mask()?);
        } else {
            let words = self.tokens.div_ceil(u32::BITS as usize);
            self.mask.resize(words, u32::MAX);
        }
        for token in self.early.iter().copied().flatten() {
            clear(&mut self.mask, *token);
        }
        if let Some(bans) = &mut self.bans {
            bans.take_out(&mut self.mask);
            if self.mask.iter().all(|word| *word == 0) {
                return Err(Error::Generation(
                    "bad_words leave no token that may come next here".to_owned(),
                ));
            }
        }
        Ok(&self.mask)
    }
}
