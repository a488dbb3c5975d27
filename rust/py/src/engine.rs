//! `Engine`: requests and plans in, events out; cancelling and waiting from any thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use ruvllm_core::engine::{self, Controls, EngineConfig, Pause, Plan, PlanRow};
use ruvllm_core::events::Event;
use ruvllm_core::ids::SequenceId;
use ruvllm_core::sequence::{CancelFlag, GenerateTask, Request, Task};
use ruvllm_core::{Error, Result};
use ruvllm_kernels::KvFormat;

use crate::convert::{Tokens, choice, random_seed, seconds};
use crate::errors::exception;
use crate::events::to_python;
use crate::model::Model;
use crate::profile::{Profile, SystemClock};
use crate::run::{run, wait};
use crate::sampling::Sampling;
use crate::status::Status;
use crate::tokenizer::Vocabulary;

const KV_FORMATS: [(&str, Option<KvFormat>); 3] = [
    ("auto", None),
    ("f16", Some(KvFormat::F16)),
    ("f32", Some(KvFormat::F32)),
];
const EVALUATIONS: [(&str, Task); 3] = [
    ("logits", Task::Logits),
    ("score", Task::Score),
    ("embed", Task::Embed),
];

/// Runs plans over one model and one pool of key-value blocks.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Engine {
    inner: Mutex<engine::Engine>,
    controls: Controls,
    /// Sequences whose last event was not yet fetched.
    open: Mutex<HashMap<SequenceId, OpenSequence>>,
    closed: AtomicBool,
    vocab_size: usize,
}

/// What is kept of a sequence on this side.
struct OpenSequence {
    cancel: CancelFlag,
    /// The width of its values, where they are a matrix.
    columns: Option<usize>,
}

impl Engine {
    /// The engine; an error once a panic has left it half changed.
    fn lock(&self) -> Result<MutexGuard<'_, engine::Engine>> {
        self.inner.lock().map_err(|_| {
            Error::Backend(
                "the engine had a fault before and cannot go on; load it anew".to_owned(),
            )
        })
    }

    fn lock_open(&self) -> MutexGuard<'_, HashMap<SequenceId, OpenSequence>> {
        // Each change is one call on the map, so a panic cannot leave it half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, tokens: Tokens, task: Task) -> Result<u64> {
        let columns = matches!(task, Task::Logits).then_some(self.vocab_size);
        let cancel = CancelFlag::default();
        let request = Request {
            tokens: tokens.0,
            task,
            cancel: cancel.clone(),
        };
        let id = self.lock()?.add(request)?;
        self.lock_open()
            .insert(id, OpenSequence { cancel, columns });
        Ok(id.0)
    }

    /// The width of an event's values; forgets the sequence with its last event.
    fn columns_of(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Values { sequence, .. } => self.lock_open().get(sequence)?.columns,
            Event::Finished { sequence, .. } | Event::Failed { sequence, .. } => {
                self.lock_open().remove(sequence)?.columns
            }
            Event::Token { .. } => None,
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (
        model, *, vocabulary, end_tokens, max_context, kv_bytes, kv_format="auto"
    ))]
    fn new(
        model: &Bound<'_, Model>,
        vocabulary: Option<&Vocabulary>,
        end_tokens: Tokens,
        max_context: usize,
        kv_bytes: usize,
        kv_format: &str,
    ) -> PyResult<Self> {
        let (py, model) = (model.py(), Arc::clone(&model.get().model));
        let vocabulary = vocabulary.map(|vocabulary| Arc::clone(&vocabulary.0));
        let vocab_size = model.spec().vocab_size;
        run(py, || {
            let config = EngineConfig {
                max_context,
                kv_bytes,
                kv_format: choice("kv_format", kv_format, &KV_FORMATS)?,
            };
            let engine = engine::Engine::new(model, vocabulary, end_tokens.0, config)?;
            Ok(Self {
                controls: engine.controls(),
                inner: Mutex::new(engine),
                open: Mutex::default(),
                closed: AtomicBool::new(false),
                vocab_size,
            })
        })
    }

    #[pyo3(signature = (tokens, sampling, *, max_tokens, stop, ignore_end=false))]
    fn add_generation(
        &self,
        tokens: Tokens,
        sampling: &Bound<'_, Sampling>,
        max_tokens: usize,
        stop: Vec<String>,
        ignore_end: bool,
    ) -> PyResult<u64> {
        let (py, sampling) = (sampling.py(), sampling.get().0.clone());
        let task = GenerateTask {
            seed: sampling.seed.unwrap_or_else(random_seed),
            sampling,
            max_tokens,
            stop,
            ignore_end,
        };
        run(py, || self.add(tokens, Task::Generate(task)))
    }

    fn add_evaluation(&self, py: Python<'_>, tokens: Tokens, kind: &str) -> PyResult<u64> {
        run(py, || {
            self.add(
                tokens,
                choice("the kind of evaluation", kind, &EVALUATIONS)?,
            )
        })
    }

    fn advance(
        &self,
        py: Python<'_>,
        plan: Vec<(u64, usize)>,
        max_steps: usize,
    ) -> PyResult<&'static str> {
        let rows = plan.into_iter().map(|(sequence, prefill_tokens)| PlanRow {
            sequence: SequenceId(sequence),
            prefill_tokens,
        });
        let rows = rows.collect();
        run(py, || {
            if self.closed.load(Ordering::Acquire) {
                return Ok(Pause::Interrupted.name());
            }
            let pause = self.lock()?.advance(&Plan { rows, max_steps })?;
            Ok(pause.name())
        })
    }

    fn status(&self, py: Python<'_>) -> PyResult<Status> {
        run(py, || Ok(Status::of(&*self.lock()?)))
    }

    fn start_profile(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            self.lock()?.start_profile(Arc::new(SystemClock::new()));
            Ok(())
        })
    }

    fn take_profile(&self, py: Python<'_>) -> PyResult<Option<Profile>> {
        run(py, || Ok(self.lock()?.take_profile().map(Into::into)))
    }

    fn cancel(&self, sequence: u64) {
        if let Some(open) = self.lock_open().get(&SequenceId(sequence)) {
            open.cancel.cancel();
        }
    }

    fn interrupt(&self) {
        self.controls.interrupt();
    }

    fn events<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let timeout = seconds("timeout", timeout).map_err(|error| exception(&error))?;
        let events = wait(py, timeout, |slice| {
            let events = self.controls.events().wait(slice);
            let is_over = !events.is_empty() || self.closed.load(Ordering::Acquire);
            is_over.then_some(events)
        })?;
        let events = events.unwrap_or_default().into_iter();
        events
            .map(|event| {
                let columns = self.columns_of(&event);
                to_python(py, event, columns)
            })
            .collect()
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.controls.interrupt();
        self.controls.events().close();
    }
}
