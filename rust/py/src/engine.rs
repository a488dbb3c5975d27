//! `Engine`: requests and plans in, events out; cancelling and waiting from any thread.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use ruvllm_core::engine::{self, Controls, EngineConfig, Pause, Plan, PlanRow};
use ruvllm_core::events::Event;
use ruvllm_core::ids::SequenceId;
use ruvllm_core::memory::Watermarks;
use ruvllm_core::prefix::PrefixLimits;
use ruvllm_core::sequence::{CancelFlag, GenerateTask, Request, Task};
use ruvllm_core::{Error, Result};
use ruvllm_kernels::KvFormat;

use crate::convert::{Tokens, choice, random_seed, seconds};
use crate::errors::exception;
use crate::events::to_python;
use crate::model::Model;
use crate::prefix::{PoolStats, PrefixStats};
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

/// How an engine's memory is set up; any object with these attributes.
#[derive(FromPyObject)]
struct MemorySettings {
    max_context: usize,
    kv_bytes: usize,
    kv_format: String,
    prefix_bytes: usize,
    prefix_entries: usize,
    high_watermark: f64,
    low_watermark: f64,
}

/// What besides tokens and sampling decides about a generation; any object with these attributes.
#[derive(FromPyObject)]
struct GenerationSettings {
    max_tokens: usize,
    stop: Vec<String>,
    ignore_end: bool,
    tenant: String,
    cache_min_tokens: Option<usize>,
}

impl MemorySettings {
    fn config(&self) -> Result<EngineConfig> {
        Ok(EngineConfig {
            max_context: self.max_context,
            kv_bytes: self.kv_bytes,
            kv_format: choice("kv_format", &self.kv_format, &KV_FORMATS)?,
            prefix: PrefixLimits {
                max_bytes: self.prefix_bytes,
                max_entries: self.prefix_entries,
            },
            watermarks: Watermarks {
                high: self.high_watermark,
                low: self.low_watermark,
            },
        })
    }
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
            Event::Token { .. } => None,
        }
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (model, *, vocabulary, end_tokens, memory))]
    fn new(
        model: &Bound<'_, Model>,
        vocabulary: Option<&Vocabulary>,
        end_tokens: Tokens,
        memory: MemorySettings,
    ) -> PyResult<Self> {
        let (py, model) = (model.py(), Arc::clone(&model.get().model));
        let vocabulary = vocabulary.map(|vocabulary| Arc::clone(&vocabulary.0));
        let vocab_size = model.spec().vocab_size;
        run(py, || {
            let engine = engine::Engine::new(model, vocabulary, end_tokens.0, memory.config()?)?;
            Ok(Self {
                controls: engine.controls(),
                inner: Mutex::new(engine),
                open: Mutex::default(),
                closed: AtomicBool::new(false),
                vocab_size,
            })
        })
    }

    fn add_generation(
        &self,
        tokens: Tokens,
        sampling: &Bound<'_, Sampling>,
        settings: GenerationSettings,
    ) -> PyResult<u64> {
        let (py, sampling) = (sampling.py(), sampling.get().0.clone());
        let task = GenerateTask {
            seed: sampling.seed.unwrap_or_else(random_seed),
            sampling,
            max_tokens: settings.max_tokens,
            stop: settings.stop,
            ignore_end: settings.ignore_end,
        };
        let request = Request {
            tokens: tokens.0,
            task: Task::Generate(task),
            cancel: CancelFlag::default(),
            tenant: settings.tenant,
            cache_min_tokens: settings.cache_min_tokens,
        };
        run(py, || self.add(request))
    }

    fn add_evaluation(&self, py: Python<'_>, tokens: Tokens, kind: &str) -> PyResult<u64> {
        run(py, || {
            self.add(Request {
                tokens: tokens.0,
                task: choice("the kind of evaluation", kind, &EVALUATIONS)?,
                cancel: CancelFlag::default(),
                tenant: String::new(),
                cache_min_tokens: None,
            })
        })
    }

    fn preempt(&self, py: Python<'_>, sequence: u64, swap: bool) -> PyResult<()> {
        run(py, || self.lock()?.preempt(SequenceId(sequence), swap))
    }

    fn prefix_stats(&self, py: Python<'_>) -> PyResult<PrefixStats> {
        run(py, || Ok(self.lock()?.prefix_stats().into()))
    }

    fn pool_stats(&self, py: Python<'_>) -> PyResult<PoolStats> {
        run(py, || Ok(PoolStats::of(&*self.lock()?)))
    }

    fn set_quota(&self, py: Python<'_>, tenant: &str, bytes: Option<usize>) -> PyResult<()> {
        run(py, || {
            let engine = self.lock()?;
            engine.kv().pages().tenants().set_quota(tenant, bytes)
        })
    }

    fn clear_prefixes(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            self.lock()?.clear_prefixes();
            Ok(())
        })
    }

    fn save_prefixes(&self, py: Python<'_>, path: PathBuf, model: &str) -> PyResult<usize> {
        run(py, || {
            let file = File::create(&path).map_err(|error| io(&path, error.kind(), &error))?;
            self.lock()?.save_prefixes(model, &mut BufWriter::new(file))
        })
    }

    fn load_prefixes(
        &self,
        py: Python<'_>,
        path: PathBuf,
        model: &str,
    ) -> PyResult<(usize, usize, usize)> {
        run(py, || {
            let file = File::open(&path).map_err(|error| io(&path, error.kind(), &error))?;
            let loaded = self
                .lock()?
                .load_prefixes(model, &mut BufReader::new(file))?;
            Ok((loaded.nodes, loaded.loaded_nodes, loaded.loaded_tokens))
        })
    }

    fn check_invariants(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            self.lock()?.check_invariants().map_err(Error::KvCache)
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

fn io(path: &Path, kind: ErrorKind, error: &std::io::Error) -> Error {
    Error::Io {
        kind,
        message: format!("{}: {error}", path.display()),
    }
}
