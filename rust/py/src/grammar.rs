//! `Grammars` and `Grammar`: what answers must be, compiled over a model's tokens.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_core::grammar::{self, GrammarSource};

use crate::convert::Tokens;
use crate::run::run;
use crate::tokenizer::{Tokenizer, Vocabulary};

/// The grammars of one model. Any thread; whoever asks first waits until the vocabulary is ready for all.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Grammars(grammar::Grammars);

#[pymethods]
impl Grammars {
    #[new]
    fn new(vocabulary: &Vocabulary, end_tokens: Tokens, tokenizer: Option<&Tokenizer>) -> Self {
        let (tokens, tokenizer) = (&vocabulary.0, tokenizer.map(|one| &one.0));
        Self(grammar::Grammars::new(tokens, end_tokens.0, tokenizer))
    }

    /// The grammar of a source, compiled unless it is kept.
    fn grammar(&self, py: Python<'_>, kind: &str, source: String) -> PyResult<Grammar> {
        run(py, || self.0.grammar(GrammarSource::named(kind, source)?)).map(Grammar)
    }

    /// What the vocabulary and the grammars that are kept take.
    #[getter]
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// What one answer must be; any number may use it at the same time.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Grammar(pub(crate) Arc<grammar::Grammar>);

#[pymethods]
impl Grammar {
    /// Whether a text as a whole is what it allows.
    fn accepts(&self, py: Python<'_>, text: &str) -> PyResult<bool> {
        run(py, || self.0.accepts(text))
    }

    /// What it takes.
    #[getter]
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
