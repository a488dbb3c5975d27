//! Memory of a choice, and the one look through the logits with which each begins.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::filters::Candidate;
use super::softmax::Blocks;
use crate::{Error, Result};

/// Memory used again for every token.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    pub(super) blocks: Blocks,
    pub(super) candidates: Vec<Candidate>,
    pub(super) spare: Vec<Candidate>,
}

impl Scratch {
    pub(super) fn new(kernels: Arc<dyn Kernels>) -> Self {
        Self {
            blocks: Blocks::new(kernels),
            ..Self::default()
        }
    }

    /// Looks through the logits; an error where they leave nothing to choose.
    pub(super) fn scan(&mut self, logits: &[f32]) -> Result<()> {
        if self.blocks.scan(logits) {
            return Ok(());
        }
        let nan = logits.iter().filter(|logit| logit.is_nan()).count();
        Err(Error::Generation(format!(
            "no token can be chosen: of {} logits {nan} are NaN and the others -inf; \
             at least one must be a number or +inf",
            logits.len()
        )))
    }
}
