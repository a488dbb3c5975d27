//! `Engine`: requests and plans in, events out; cancelling and waiting from any thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use ruvllm_core::Result;
use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::engine::{self, Controls, Pause, Plan, PlanRow};
use ruvllm_core::events::Event;
use ruvllm_core::ids::SequenceId;
use ruvllm_core::model::LoadOptions;
use ruvllm_core::sequence::{Request, Task};
use ruvllm_core::speculation::Speculation;

use crate::convert::{Tokens, seconds};
use crate::engine_memory::{EngineMemory, MemorySettings};
use crate::errors::exception;
use crate::events::to_python;
use crate::model::{Model, Words, words_of};
use crate::model_header::ModelHeader;
use crate::profile::{Profile, SystemClock};
use crate::replay::Tape;
use crate::requests::{EvaluationSettings, GenerationSettings};
use crate::run::{lock, run, wait};
use crate::sampling::Sampling;
use crate::status::Status;
use crate::system::choose_kernels;
use crate::tokenizer::Vocabulary;

/// Runs plans over one model and one pool of key-value blocks.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Engine {
    inner: Arc<Mutex<engine::Engine>>,
    controls: Controls,
    /// Sequences whose last event was not yet fetched.
    open: Mutex<HashMap<SequenceId, OpenSequence>>,
    closed: AtomicBool,
    vocab_size: usize,
    clock: Arc<SystemClock>,
}

/// What is kept of a sequence on this side.
struct OpenSequence {
    cancel: CancelFlag,
    /// The width of its values, where they are a matrix.
    columns: Option<usize>,
}

impl Engine {
    fn over(mut engine: engine::Engine, vocab_size: usize, speculates: bool) -> Self {
        let clock = Arc::new(SystemClock::new());
        if speculates {
            engine.speculate(Speculation::lookup(clock.clone()));
        }
        Self {
            controls: engine.controls(),
            inner: Arc::new(Mutex::new(engine)),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
            vocab_size,
            clock,
        }
    }

    /// The engine; an error once a panic has left it half changed.
    fn lock(&self) -> Result<MutexGuard<'_, engine::Engine>> {
        lock(&self.inner)
    }

    fn lock_open(&self) -> MutexGuard<'_, HashMap<SequenceId, OpenSequence>> {
        // Each change is one call on the map, so a panic cannot leave it half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, request: Request) -> Result<u64> {
        let columns = matches!(request.task, Task::Logits).then_some(self.vocab_size);
        let cancel = request.cancel.clone();
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
            Event::Token { .. } | Event::Scores { .. } => None,
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (model, *, words, memory, speculates, draft=None, record_on=None))]
    fn new(
        model: &Bound<'_, Model>,
        words: Words,
        memory: MemorySettings,
        speculates: bool,
        draft: Option<(Py<Model>, Option<Py<Vocabulary>>, usize)>,
        record_on: Option<&Tape>,
    ) -> PyResult<Self> {
        let (py, model) = (model.py(), Arc::clone(&model.get().model));
        let (words, ends) = words_of(words);
        let vocab_size = model.spec().vocab_size;
        run(py, || {
            let mut engine = engine::Engine::new(model, words, ends, memory.config()?)?;
            if let Some(tape) = record_on {
                engine = engine.recorded_on(Arc::clone(&tape.0));
            }
            let made = Self::over(engine, vocab_size, speculates);
            if let Some((draft, words, kv_bytes)) = &draft {
                let words = words.as_ref().map(|words| &*words.get().0);
                made.lock()?
                    .guess_with(Arc::clone(&draft.get().model), words, *kv_bytes)?;
            }
            Ok(made)
        })
    }

    /// An engine that has a tape play the part of a model of which there is the head alone.
    #[staticmethod]
    #[pyo3(signature = (header, tape, *, words, memory, threads=None))]
    fn replaying(
        header: &Bound<'_, ModelHeader>,
        tape: &Tape,
        words: Words,
        memory: MemorySettings,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let (py, header) = (header.py(), header.get());
        let (model, words) = (Arc::clone(&header.header), words_of(words));
        let vocab_size = model.spec.vocab_size;
        run(py, || {
            let options = LoadOptions::new(choose_kernels(None)?, threads, header.precision);
            let (tape, config) = (Arc::clone(&tape.0), memory.config()?);
            let engine = engine::Engine::replaying(model, tape, &options, words, config)?;
            Ok(Self::over(engine, vocab_size, true))
        })
    }

    fn add_generation(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        sampling: Sampling,
        settings: GenerationSettings<'_>,
    ) -> PyResult<u64> {
        let request = settings.request(tokens, sampling.into());
        run(py, || self.add(request))
    }

    fn add_evaluation(
        &self,
        py: Python<'_>,
        tokens: Tokens,
        settings: EvaluationSettings<'_>,
    ) -> PyResult<u64> {
        let request = settings.request(tokens);
        run(py, || self.add(request?))
    }

    fn preempt(&self, py: Python<'_>, sequence: u64, swap: bool) -> PyResult<()> {
        run(py, || self.lock()?.preempt(SequenceId(sequence), swap))
    }

    fn trim(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || self.lock().map(|mut one| one.trim()))
    }

    /// The memory of the engine, for others than its own thread.
    fn memory(&self) -> EngineMemory {
        EngineMemory(Arc::clone(&self.inner))
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
        let clock = self.clock.clone();
        run(py, || self.lock().map(|mut one| one.start_profile(clock)))
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
            let events = self.controls.events().wait(self.clock.deadline(slice));
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
