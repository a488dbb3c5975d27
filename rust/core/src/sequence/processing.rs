//! What others make of the logits before a token is drawn.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::ids::TokenId;

/// Somebody else's say in what comes next.
pub trait LogitsProcessor: fmt::Debug + Send + Sync {
    /// Changes the logits behind a text, its prompt included. The same text must be answered alike: what is asked again
    /// is what a request computes anew.
    fn process(&self, text: &[TokenId], logits: &mut [f32]) -> Result<()>;
}

/// A processor and the answer that it sees.
#[derive(Debug)]
pub(super) struct Processing {
    processor: Arc<dyn LogitsProcessor>,
    text: Vec<TokenId>,
    /// The logits under way as the model made them.
    original: Vec<f32>,
}

impl Processing {
    pub(super) fn new(processor: Arc<dyn LogitsProcessor>, prompt: &[TokenId]) -> Self {
        Self {
            processor,
            text: prompt.to_vec(),
            original: Vec::new(),
        }
    }

    /// A token became a part of the answer.
    pub(super) fn accept(&mut self, token: TokenId) {
        self.text.push(token);
    }

    /// Has the logits of the next token changed.
    pub(super) fn change(&mut self, logits: &mut [f32]) -> Result<()> {
        self.original.clear();
        self.original.extend_from_slice(logits);
        self.processor.process(&self.text, logits)
    }

    /// Makes them what they were.
    pub(super) fn take_back(&self, logits: &mut [f32]) {
        logits.copy_from_slice(&self.original);
    }
}
