//! `Answer`: one request on its way, token by token.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ruvllm_core::grammar::Start;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::TokenLogprobs;
use ruvllm_core::sequence::{self, AnswerStep, Bounds, GenerateTask};
use ruvllm_core::{Error, Result};

use crate::convert::{Tokens, random_seed};
use crate::grammar::Grammar;
use crate::grounds::{Ground, Pieces};
use crate::model::{Loaded, Model, lock};
use crate::run::run;
use crate::sampling::Sampling;

/// What besides tokens and sampling decides about a generation; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct GenerationSettings<'py> {
    max_tokens: usize,
    /// Stop strings, which are found in front, stop tokens, how early none may come, whether the model's own count,
    /// and what is banned.
    bounds: (Vec<String>, Vec<TokenId>, usize, bool, Vec<String>),
    grammar: Option<(Bound<'py, Grammar>, Option<String>)>,
    thinking: Option<(usize, String, String, Vec<TokenId>)>,
    keep_special: Vec<String>,
}

/// A token: its id, what it adds to the text, and how likely it was, with its rivals.
type Made<'py> = (
    TokenId,
    Bound<'py, PyBytes>,
    Option<(f32, Vec<(TokenId, f32)>)>,
);
/// Why an answer is over, and the token of the request that ended it.
type End = (&'static str, Option<TokenId>);

/// One answer. Any thread, one at a time.
#[pyclass(frozen, module = "ruvllm_candle._candle")]
pub(crate) struct Answer {
    loaded: Arc<Mutex<Loaded>>,
    pieces: Pieces,
    course: Mutex<Course>,
}

/// How far it is.
struct Course {
    answer: sequence::Answer,
    prompt: Vec<TokenId>,
    /// Tokens that were drawn and not computed yet.
    next: Vec<TokenId>,
    computed: usize,
    owner: u64,
}

#[pymethods]
impl Answer {
    #[new]
    fn new(
        py: Python<'_>,
        model: &Model,
        ground: &Ground,
        token_ids: Tokens,
        sampling: Sampling,
        settings: GenerationSettings<'_>,
    ) -> PyResult<Self> {
        let ground = &ground.0;
        let keep_special = settings.keep_special.clone();
        let pieces = Pieces::new(ground.vocabulary.clone(), keep_special);
        let (task, prompt) = (task(sampling, settings), token_ids.0);
        run(py, || {
            Ok(Self {
                loaded: Arc::clone(&model.loaded),
                pieces,
                course: Mutex::new(Course {
                    answer: sequence::Answer::new(task, &prompt, ground.clone())?,
                    prompt,
                    next: Vec::new(),
                    computed: 0,
                    owner: 0,
                }),
            })
        })
    }

    /// Computes what is known and draws: the tokens that follow, and the end where it is there.
    fn step<'py>(&self, py: Python<'py>) -> PyResult<(Vec<Made<'py>>, Option<End>)> {
        let step = run(py, || self.advance())?;
        let made = |(token, logprob): (TokenId, Option<TokenLogprobs>)| {
            let logprob = logprob.map(|told| (told.logprob, told.top));
            (token, PyBytes::new(py, self.pieces.of(token)), logprob)
        };
        let stop_token = step.stopped_at.and_then(|stopped| stopped.parts().1);
        let end = step.finish.map(|reason| (reason.name(), stop_token));
        Ok((step.tokens.into_iter().map(made).collect(), end))
    }

    /// Gives back what the model keeps for it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            let owner = self.course()?.owner;
            lock(&self.loaded)?.end(owner);
            Ok(())
        })
    }
}

impl Answer {
    fn course(&self) -> Result<std::sync::MutexGuard<'_, Course>> {
        self.course.lock().map_err(|_| {
            Error::Backend("the answer had a fault before and cannot go on".to_owned())
        })
    }

    fn advance(&self) -> Result<AnswerStep> {
        let mut course = self.course()?;
        let course = &mut *course;
        let mut loaded = lock(&self.loaded)?;
        let mut logits = if course.computed == 0 {
            course.owner = loaded.begin();
            course.computed = course.prompt.len();
            loaded.prompt(course.owner, &course.prompt)?
        } else {
            let mut logits = Vec::new();
            // One by one: behind single tokens some models do not compute several.
            for token in course.next.drain(..) {
                logits = loaded.compute(course.owner, &[token], course.computed)?;
                course.computed += 1;
            }
            logits
        };
        let step = course.answer.take(&mut logits)?;
        course.next = step.tokens.iter().map(|(token, _)| *token).collect();
        Ok(step)
    }
}

fn task(sampling: Sampling, settings: GenerationSettings<'_>) -> GenerateTask {
    let sampling = ruvllm_core::sampling::SamplingParams::from(sampling);
    GenerateTask {
        seed: sampling.seed.unwrap_or_else(random_seed),
        sampling: Box::new(sampling),
        max_tokens: settings.max_tokens,
        bounds: Box::new(Bounds {
            stop: Vec::new(),
            ..settings.bounds.into()
        }),
        grammar: settings
            .grammar
            .map(|(grammar, after)| (Arc::clone(&grammar.get().0), Start { after })),
        thinking: settings.thinking.map(|budget| Box::new(budget.into())),
        keep_special: settings.keep_special,
        prediction: None,
        processor: None,
    }
}
