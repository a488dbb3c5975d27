//! Log-probabilities of what the model said, before penalties, temperature and filters.
//!
//! This is what OpenAI and vLLM report: the logarithm of the softmax of the raw logits.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use super::filters::{Candidate, gather_largest};
use super::scratch::Scratch;
use super::softmax::{Blocks, Softmax};
use crate::Result;
use crate::ids::TokenId;

/// How likely the model found the chosen token and its strongest rivals.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// Natural logarithm of the chosen token's probability.
    pub logprob: f32,
    /// The most likely tokens, best first, as many as asked for; the chosen one is among
    /// them only by its rank. Masked tokens, of probability 0, are left out.
    pub top: Vec<(TokenId, f32)>,
}

impl TokenLogprobs {
    /// For `chosen`, with the `count` most likely tokens; `scratch` has scanned `logits`.
    pub(super) fn measure(
        logits: &[f32],
        scratch: &mut Scratch,
        chosen: TokenId,
        count: usize,
    ) -> Self {
        let Scratch {
            blocks,
            candidates,
            spare,
        } = scratch;
        let logprob = logprob_of(logits, blocks);
        candidates.clear();
        if count > 0 {
            gather_largest(logits, blocks, count, spare, candidates);
        }
        candidates.sort_unstable_by_key(Candidate::rank);
        Self {
            logprob: logprob(logits[chosen as usize]),
            top: candidates
                .iter()
                .map(|candidate| (candidate.token, logprob(candidate.weight)))
                .collect(),
        }
    }
}

/// Measures tokens that were given, not drawn.
#[derive(Debug, Clone)]
pub struct LogprobMeter(Scratch);

impl LogprobMeter {
    /// With the arithmetic of this machine.
    pub fn new(kernels: Arc<dyn Kernels>) -> Self {
        Self(Scratch::new(kernels))
    }

    /// How likely `logits` make `token`, with the `count` most likely tokens. An error where all of
    /// them are NaN or -inf.
    pub fn measure(
        &mut self,
        logits: &[f32],
        token: TokenId,
        count: usize,
    ) -> Result<TokenLogprobs> {
        self.0.scan(logits)?;
        Ok(TokenLogprobs::measure(logits, &mut self.0, token, count))
    }

    /// How likely `logits` make each of `tokens`, with the same error.
    pub fn measure_each(&mut self, logits: &[f32], tokens: &[TokenId]) -> Result<Vec<f32>> {
        self.0.scan(logits)?;
        let logprob = logprob_of(logits, &mut self.0.blocks);
        let logits = tokens.iter().map(|token| logits[*token as usize]);
        Ok(logits.map(logprob).collect())
    }
}

/// What makes a log-probability of a logit, among those that `blocks` has scanned.
fn logprob_of(logits: &[f32], blocks: &mut Blocks) -> impl Fn(f32) -> f32 + use<> {
    let softmax = Softmax::new(blocks.maximum, 1.0);
    let log_total = softmax.total(logits, blocks).ln();
    // Never below the least finite number: some formats cannot say -inf. NaN is as unlikely.
    move |logit: f32| {
        let distance = if logit.is_nan() {
            f64::NEG_INFINITY
        } else {
            softmax.distance(logit)
        };
        ((distance - log_total) as f32).max(f32::MIN)
    }
}
