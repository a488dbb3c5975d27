//! `Sampling`: one request's choices on their way to the core.

use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::SamplingParams;

/// One request's choices, validated against the vocabulary when it is added.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Sampling(pub(crate) SamplingParams);

#[pymethods]
impl Sampling {
    #[new]
    #[pyo3(signature = (
        *, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty,
        frequency_penalty, logit_bias, seed, logprobs
    ))]
    #[allow(
        clippy::too_many_arguments,
        reason = "keyword arguments of one call in Python, a field each"
    )]
    fn new(
        temperature: f32,
        top_k: usize,
        top_p: f32,
        min_p: f32,
        repetition_penalty: f32,
        presence_penalty: f32,
        frequency_penalty: f32,
        logit_bias: Vec<(TokenId, f32)>,
        seed: Option<u64>,
        logprobs: Option<usize>,
    ) -> Self {
        Self(SamplingParams {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            logit_bias,
            seed,
            logprobs,
        })
    }
}
