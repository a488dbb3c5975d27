//! What Python asks an engine for, as the engine takes it.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvllm_core::Result;
use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::grammar::Start;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::SamplingParams;
use ruvllm_core::sequence::{GenerateTask, Request, Task};

use crate::adapter::AdapterUse;
use crate::convert::{Tokens, choice, random_seed};
use crate::grammar::Grammar;
use crate::learning::{CaptureSettings, HeadAdapter};
use crate::logits_processor::PythonProcessor;

/// What besides tokens and sampling decides about a generation; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct GenerationSettings<'py> {
    max_tokens: usize,
    /// Stop strings and tokens, how early none may come, whether the model's own count, and what is banned.
    bounds: (Vec<String>, Vec<TokenId>, usize, bool, Vec<String>),
    tenant: String,
    cache_min_tokens: Option<usize>,
    adapters: Vec<AdapterUse<'py>>,
    head: Option<Bound<'py, HeadAdapter>>,
    capture: Option<CaptureSettings<'py>>,
    /// And behind which text it begins.
    grammar: Option<(Bound<'py, Grammar>, Option<String>)>,
    /// A budget, the marks around thoughts, and what ends them.
    thinking: Option<(usize, String, String, Vec<TokenId>)>,
    keep_special: Vec<String>,
    prediction: Option<Vec<TokenId>>,
    processor: Option<Py<PyAny>>,
}

impl GenerationSettings<'_> {
    pub(crate) fn request(self, tokens: Tokens, sampling: SamplingParams) -> Request {
        let task = GenerateTask {
            seed: sampling.seed.unwrap_or_else(random_seed),
            sampling: Box::new(sampling),
            max_tokens: self.max_tokens,
            bounds: Box::new(self.bounds.into()),
            grammar: self
                .grammar
                .map(|(grammar, after)| (Arc::clone(&grammar.get().0), Start { after })),
            thinking: self.thinking.map(|budget| Box::new(budget.into())),
            keep_special: self.keep_special,
            prediction: self.prediction,
            processor: self
                .processor
                .map(|one| Arc::new(PythonProcessor(one)) as _),
        };
        Request {
            tokens: tokens.0,
            task: Task::Generate(task),
            cancel: CancelFlag::default(),
            adapters: self.adapters.into_iter().map(Into::into).collect(),
            head: self.head.map(|head| Arc::clone(&head.get().0)),
            capture: self.capture.map(Into::into),
            tenant: self.tenant,
            cache_min_tokens: self.cache_min_tokens,
        }
    }
}

/// What an evaluation asks for besides its tokens; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct EvaluationSettings<'py> {
    kind: String,
    top_logprobs: usize,
    candidates: Vec<(usize, Vec<u32>)>,
    shared_tokens: usize,
    tenant: String,
    adapters: Vec<AdapterUse<'py>>,
    head: Option<Bound<'py, HeadAdapter>>,
    capture: Option<CaptureSettings<'py>>,
}

impl EvaluationSettings<'_> {
    pub(crate) fn request(self, tokens: Tokens) -> Result<Request> {
        let top_logprobs = self.top_logprobs;
        let kinds = [
            ("logits", Task::Logits),
            ("score", Task::Score { top_logprobs }),
            (
                "candidates",
                Task::candidates(self.candidates, self.shared_tokens),
            ),
            ("embed", Task::Embed),
        ];
        Ok(Request {
            tokens: tokens.0,
            task: choice("the kind of evaluation", &self.kind, &kinds)?,
            cancel: CancelFlag::default(),
            adapters: self.adapters.into_iter().map(Into::into).collect(),
            head: self.head.map(|head| Arc::clone(&head.get().0)),
            capture: self.capture.map(Into::into),
            tenant: self.tenant,
            cache_min_tokens: Some(1),
        })
    }
}
