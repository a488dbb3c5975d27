//! The core's events as Python objects.

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use ruvllm_core::events::{Event, StoppedAt};
use ruvllm_core::ids::TokenId;
use ruvllm_core::prefix::MissReason;

use crate::arrays::rows;
use crate::errors::exception;

/// One sampled token; `text` is what became safe to show with it, possibly nothing.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct TokenEvent {
    sequence: u64,
    token: TokenId,
    text: String,
    logprob: Option<f32>,
    top_logprobs: Option<Vec<(TokenId, f32)>>,
}

/// The last event of a sequence that ended well; `reason`: stop, length, cancelled, done.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct FinishedEvent {
    sequence: u64,
    reason: &'static str,
    /// The index of the stop string, or the stop token, that ended it.
    stopped_at: Option<(Option<usize>, Option<TokenId>)>,
    text: String,
    prompt_tokens: usize,
    completion_tokens: usize,
    cached_tokens: usize,
    cache_miss: Option<&'static str>,
    drafted_tokens: usize,
    accepted_tokens: usize,
}

/// The result of an evaluation that gives an array.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct ArrayEvent {
    sequence: u64,
    values: Py<PyAny>,
}

/// A token, its logprob, the likeliest ones in its place.
type Score = (TokenId, f32, Vec<(TokenId, f32)>);

/// The result of scoring: each token but the first, its logprob, the likeliest tokens in its place.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct ScoresEvent {
    sequence: u64,
    scores: Vec<Score>,
}

/// The last event of a sequence that failed.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct FailedEvent {
    sequence: u64,
    error: Py<PyBaseException>,
}

/// An event as Python sees it; `columns` is the width of its values, where they are a matrix.
pub(crate) fn to_python(
    py: Python<'_>,
    event: Event,
    columns: Option<usize>,
) -> PyResult<Bound<'_, PyAny>> {
    Ok(match event {
        Event::Token {
            sequence,
            token,
            text,
            logprobs,
        } => {
            let (logprob, top_logprobs) = logprobs.map(|all| (all.logprob, all.top)).unzip();
            let event = TokenEvent {
                sequence: sequence.0,
                token,
                text,
                logprob,
                top_logprobs,
            };
            Bound::new(py, event)?.into_any()
        }
        Event::Finished {
            sequence,
            reason,
            stopped_at,
            text,
            usage,
        } => {
            let event = FinishedEvent {
                sequence: sequence.0,
                reason: reason.name(),
                stopped_at: stopped_at.map(StoppedAt::parts),
                text,
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                cached_tokens: usage.cached_tokens,
                cache_miss: usage.cache_miss.map(MissReason::name),
                drafted_tokens: usage.drafts.drafted,
                accepted_tokens: usage.drafts.accepted,
            };
            Bound::new(py, event)?.into_any()
        }
        Event::Values { sequence, values } => {
            let values = rows(py, values, columns)?;
            let sequence = sequence.0;
            Bound::new(py, ArrayEvent { sequence, values })?.into_any()
        }
        Event::Scores { sequence, scores } => {
            let scores = scores.into_iter();
            let scores = scores.map(|(token, score)| (token, score.logprob, score.top));
            let event = ScoresEvent {
                sequence: sequence.0,
                scores: scores.collect(),
            };
            Bound::new(py, event)?.into_any()
        }
        Event::Failed { sequence, error } => {
            let error = exception(&error).into_value(py);
            let sequence = sequence.0;
            Bound::new(py, FailedEvent { sequence, error })?.into_any()
        }
    })
}
