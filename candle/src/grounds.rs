//! What answers of a model have in common.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sequence::AnswerGround;
use ruvllm_core::text;

use crate::convert::Tokens;
use crate::tokenizer::Vocabulary;

/// Tokens, their texts, and where they end.
#[pyclass(frozen, module = "ruvllm_candle._candle")]
pub(crate) struct Ground(pub(crate) AnswerGround);

#[pymethods]
impl Ground {
    #[new]
    fn new(
        vocabulary: Option<&Vocabulary>,
        end_tokens: Tokens,
        vocab_size: usize,
        max_context: usize,
    ) -> Self {
        Self(AnswerGround {
            vocabulary: vocabulary.map(|vocabulary| Arc::clone(&vocabulary.0)),
            end_tokens: end_tokens.0.into(),
            vocab_size,
            kernels: ruvllm_kernels::best(),
            max_context,
        })
    }
}

/// What tokens add to a text, with the marks that one request wants to see.
#[derive(Debug)]
pub(crate) struct Pieces {
    vocabulary: Option<Arc<text::Vocabulary>>,
    shown: Vec<String>,
}

impl Pieces {
    pub(crate) fn new(vocabulary: Option<Arc<text::Vocabulary>>, shown: Vec<String>) -> Self {
        Self { vocabulary, shown }
    }

    /// The bytes of a token; none of a mark that is not shown.
    pub(crate) fn of(&self, token: TokenId) -> &[u8] {
        let Some(vocabulary) = &self.vocabulary else {
            return &[];
        };
        let bytes = vocabulary.bytes(token).unwrap_or_default();
        let is_shown = || self.shown.iter().any(|text| text.as_bytes() == bytes);
        if vocabulary.is_special(token) && !is_shown() {
            return &[];
        }
        bytes
    }
}
