//! `Tokenizer` and `Vocabulary`: text and token ids.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use ruvllm_core::ids::TokenId;
use ruvllm_core::text::{self, EncodeOptions, MarkPlaces};

use crate::convert::Tokens;
use crate::run::run;

/// A tokenizer out of GGUF metadata.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Tokenizer(pub(crate) Arc<text::Tokenizer>);

#[pymethods]
impl Tokenizer {
    fn encode(
        &self,
        py: Python<'_>,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> PyResult<Vec<TokenId>> {
        let marks = if parse_special {
            MarkPlaces::Everywhere
        } else {
            MarkPlaces::Within(&[])
        };
        run(py, || {
            self.0.encode(text, EncodeOptions { add_special, marks })
        })
    }

    /// Text and marks by turns.
    fn encode_pieces(
        &self,
        py: Python<'_>,
        pieces: Vec<String>,
        add_special: bool,
    ) -> PyResult<Vec<TokenId>> {
        run(py, || self.0.encode_pieces(&pieces, add_special))
    }

    /// The texts that only a template writes as tokens.
    fn mark_texts(&self) -> Vec<&str> {
        self.0.mark_texts()
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        token_ids: Tokens,
        skip_special: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = run(py, || self.0.decode(&token_ids.0, skip_special))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocabulary().len()
    }

    #[getter]
    fn adds_bos(&self) -> bool {
        self.0.adds_bos()
    }

    #[getter]
    fn bos_token(&self) -> Option<TokenId> {
        self.0.bos()
    }

    #[getter]
    fn eos_token(&self) -> Option<TokenId> {
        self.0.eos()
    }

    #[getter]
    fn end_tokens(&self) -> Vec<TokenId> {
        self.0.end_of_generation().to_vec()
    }

    fn token_text(&self, token_id: TokenId) -> Option<&str> {
        self.0.token_text(token_id)
    }

    fn token_id(&self, text: &str) -> Option<TokenId> {
        self.0.token_id(text)
    }

    fn vocabulary(&self) -> Vocabulary {
        Vocabulary(Arc::clone(self.0.vocabulary()))
    }
}

/// The bytes of every token: what stop strings and streamed text are made of.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Vocabulary(pub(crate) Arc<text::Vocabulary>);

#[pymethods]
impl Vocabulary {
    #[new]
    fn new(py: Python<'_>, pieces: Vec<PyBackedBytes>, special: Tokens) -> PyResult<Self> {
        run(py, || text::Vocabulary::from_tokens(&pieces, special.0))
            .map(|vocabulary| Self(Arc::new(vocabulary)))
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// What a token adds to a text.
    fn bytes<'py>(&self, py: Python<'py>, token_id: TokenId) -> Option<Bound<'py, PyBytes>> {
        self.0.bytes(token_id).map(|bytes| PyBytes::new(py, bytes))
    }

    /// Whether a token is a mark that is no part of the text.
    fn is_special(&self, token_id: TokenId) -> bool {
        self.0.is_special(token_id)
    }
}
