//! The grammars of one model: its vocabulary made ready once, and what was compiled kept for whoever asks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::compile::Grammar;
use super::limits::CACHE_BYTES;
use super::source::GrammarSource;
use super::vocabulary::GrammarVocabulary;
use crate::error::Result;
use crate::ids::TokenId;
use crate::text::{Tokenizer, Vocabulary};

/// Compiles for one model, on the thread of whoever asks; any number may.
#[derive(Debug)]
pub struct Grammars {
    tokens: Arc<Vocabulary>,
    end_tokens: Vec<TokenId>,
    tokenizer: Option<Arc<Tokenizer>>,
    vocabulary: OnceLock<Result<Arc<GrammarVocabulary>>>,
    kept: Mutex<Kept>,
}

/// What is kept, and the order of its use.
#[derive(Debug, Default)]
struct Kept {
    grammars: HashMap<GrammarSource, (Arc<Grammar>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Grammars {
    /// Nothing is made ready before somebody asks.
    pub fn new(
        tokens: &Arc<Vocabulary>,
        end_tokens: Vec<TokenId>,
        tokenizer: Option<&Arc<Tokenizer>>,
    ) -> Self {
        Self {
            tokens: Arc::clone(tokens),
            end_tokens,
            tokenizer: tokenizer.cloned(),
            vocabulary: OnceLock::new(),
            kept: Mutex::default(),
        }
    }

    /// Makes the vocabulary ready; the first call takes its time, and others wait for it.
    pub fn vocabulary(&self) -> Result<&Arc<GrammarVocabulary>> {
        let made = self.vocabulary.get_or_init(|| {
            let (tokens, tokenizer) = (Arc::clone(&self.tokens), self.tokenizer.clone());
            GrammarVocabulary::new(tokens, &self.end_tokens, tokenizer).map(Arc::new)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// The grammar of a source, compiled unless it is kept.
    pub fn grammar(&self, source: GrammarSource) -> Result<Arc<Grammar>> {
        if let Some(grammar) = self.lock().find(&source) {
            return Ok(grammar);
        }
        let grammar = Arc::new(Grammar::compile(self.vocabulary()?, &source)?);
        self.lock().keep(source, &grammar);
        Ok(grammar)
    }

    /// What all of it takes, about.
    pub fn bytes(&self) -> usize {
        let vocabulary = match self.vocabulary.get() {
            Some(Ok(vocabulary)) => vocabulary.bytes(),
            _ => 0,
        };
        vocabulary + self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What a panic leaves half changed is a count of bytes of a cache.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, source: &GrammarSource) -> Option<Arc<Grammar>> {
        self.uses += 1;
        let (grammar, used) = self.grammars.get_mut(source)?;
        *used = self.uses;
        Some(Arc::clone(grammar))
    }

    /// Keeps one more, and forgets those that were used longest ago where there is no room.
    fn keep(&mut self, source: GrammarSource, grammar: &Arc<Grammar>) {
        if grammar.bytes() > CACHE_BYTES {
            return;
        }
        self.uses += 1;
        self.bytes += grammar.bytes();
        if let Some((same, _)) = self
            .grammars
            .insert(source, (Arc::clone(grammar), self.uses))
        {
            self.bytes -= same.bytes();
        }
        while self.bytes > CACHE_BYTES {
            let oldest = self.grammars.iter().min_by_key(|(_, (_, used))| *used);
            let Some(source) = oldest.map(|(source, _)| source.clone()) else {
                return;
            };
            if let Some((grammar, _)) = self.grammars.remove(&source) {
                self.bytes -= grammar.bytes();
            }
        }
    }
}
