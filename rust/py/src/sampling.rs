//! A request's choices on their way to the core.

use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::{DryFields, SamplingParams};

/// How tokens are chosen, validated when the request is added; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct Sampling {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    /// Penalties of repetition, presence and frequency.
    penalties: (f32, f32, f32),
    typical_p: f32,
    top_n_sigma: f32,
    dry: Option<DryFields>,
    xtc: Option<(f32, f32)>,
    dynamic_temperature: Option<(f32, f32)>,
    mirostat: Option<(f32, f32)>,
    logit_bias: Vec<(TokenId, f32)>,
    seed: Option<u64>,
    logprobs: Option<usize>,
}

impl From<Sampling> for SamplingParams {
    fn from(given: Sampling) -> Self {
        Self {
            temperature: given.temperature,
            top_k: given.top_k,
            top_p: given.top_p,
            min_p: given.min_p,
            repetition_penalty: given.penalties.0,
            presence_penalty: given.penalties.1,
            frequency_penalty: given.penalties.2,
            typical_p: given.typical_p,
            top_n_sigma: given.top_n_sigma,
            dry: given.dry.map(Into::into),
            xtc: given.xtc.map(Into::into),
            dynamic_temperature: given.dynamic_temperature.map(Into::into),
            mirostat: given.mirostat.map(Into::into),
            logit_bias: given.logit_bias,
            seed: given.seed,
            logprobs: given.logprobs,
        }
    }
}
