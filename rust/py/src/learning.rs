//! Learning while serving: adapters on the last hidden state, what is kept of answers, and the step that feedback makes.

use std::sync::{Arc, Mutex, PoisonError};

use numpy::{PyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ruvllm_core::Result;
use ruvllm_core::ids::TokenId;
use ruvllm_core::learning::{self, Capture, HeadState};

use crate::arrays::{contiguous, flat};
use crate::model::Model;
use crate::run::run;

/// An adapter on the last hidden state; it never changes.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct HeadAdapter(pub(crate) Arc<learning::HeadAdapter>);

/// Answers that feedback may come for.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Captures(Arc<learning::CaptureRing>);

/// What is kept of one answer.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Captured(Arc<learning::Captured>);

/// Makes updates for one model.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct HeadLearner {
    model: Arc<ruvllm_core::model::Model>,
    inner: Mutex<learning::HeadLearner>,
}

/// What a request asks for: where its answer is kept, under which name, and its first token where it is given.
#[derive(FromPyObject)]
pub(crate) struct CaptureSettings<'py>(Bound<'py, Captures>, String, usize);

impl From<CaptureSettings<'_>> for Capture {
    fn from(CaptureSettings(ring, key, first): CaptureSettings<'_>) -> Self {
        let ring = Arc::clone(&ring.get().0);
        Self { ring, key, first }
    }
}

/// What a tenant has learned; any object with these attributes.
#[derive(FromPyObject)]
struct State<'py> {
    a: Bound<'py, PyAny>,
    b: Bound<'py, PyAny>,
    scale: f32,
    fisher_a: Bound<'py, PyAny>,
    fisher_b: Bound<'py, PyAny>,
    anchor_a: Bound<'py, PyAny>,
    anchor_b: Bound<'py, PyAny>,
}

impl State<'_> {
    fn read(&self) -> PyResult<HeadState> {
        Ok(HeadState {
            a: numbers("a", &self.a)?,
            b: numbers("b", &self.b)?,
            scale: self.scale,
            fisher: (
                numbers("fisher_a", &self.fisher_a)?,
                numbers("fisher_b", &self.fisher_b)?,
            ),
            anchor: (
                numbers("anchor_a", &self.anchor_a)?,
                numbers("anchor_b", &self.anchor_b)?,
            ),
        })
    }
}

/// How far an update may go: divergence, drift, how strongly importance holds, what of it stays, steps.
type Limits = (f32, f32, f32, f32, usize);
type Floats<'py> = Bound<'py, PyArray1<f32>>;
/// Whether anything moved; gain, divergence and drift; the scale; A, B, their importance, and where they are pulled.
type Moved<'py> = (bool, (f32, f32, f32), f32, [Floats<'py>; 6]);

fn numbers(name: &str, array: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let view: PyReadonlyArrayDyn<'_, f32> = contiguous(name, array)?;
    Ok(view.as_slice()?.to_vec())
}

#[pymethods]
impl HeadAdapter {
    #[new]
    fn new(a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>, scale: f32) -> PyResult<Self> {
        let width = contiguous::<f32>("a", a)?.shape().last().copied();
        let (py, a, b) = (a.py(), numbers("a", a)?, numbers("b", b)?);
        run(py, || {
            let made = learning::HeadAdapter::new(width.unwrap_or(0), scale, a, b)?;
            Ok(Self(Arc::new(made)))
        })
    }
}

#[pymethods]
impl Captures {
    #[new]
    #[pyo3(signature = (*, max_bytes, max_tokens))]
    fn new(max_bytes: usize, max_tokens: usize) -> Self {
        Self(Arc::new(learning::CaptureRing::new(max_bytes, max_tokens)))
    }

    fn has(&self, key: &str) -> bool {
        self.0.has(key)
    }

    /// Takes an answer out.
    fn take(&self, key: &str) -> Option<Captured> {
        self.0.take(key).map(Captured)
    }

    /// Answers that are kept, and their bytes.
    fn usage(&self) -> (usize, usize) {
        self.0.usage()
    }
}

#[pymethods]
impl Captured {
    /// The tokens of the answer, the one that ended it included.
    #[getter]
    fn token_ids(&self) -> Vec<TokenId> {
        self.0.tokens().map(|token| token.token).collect()
    }

    #[getter]
    fn num_bytes(&self) -> usize {
        self.0.bytes()
    }
}

#[pymethods]
impl HeadLearner {
    #[new]
    fn new(model: &Model) -> Self {
        Self {
            model: Arc::clone(&model.model),
            inner: Mutex::default(),
        }
    }

    /// The mean log-probability of an answer's tokens by a state, and the divergence from no adapter.
    fn judge(&self, py: Python<'_>, captured: &Captured, state: State<'_>) -> PyResult<(f32, f32)> {
        let (captured, state) = (Arc::clone(&captured.0), state.read()?);
        run(py, || {
            self.change(|learner| learner.judge(&*self.model, &captured, &state))
        })
    }

    fn update<'py>(
        &self,
        py: Python<'py>,
        captured: &Captured,
        advantage: f32,
        state: State<'_>,
        limits: Limits,
    ) -> PyResult<Moved<'py>> {
        let (captured, state) = (Arc::clone(&captured.0), state.read()?);
        let update = run(py, || {
            self.change(|learner| {
                learner.update(&*self.model, &captured, advantage, &state, &limits.into())
            })
        })?;
        let figures = (update.gain, update.divergence, update.drift);
        let (applied, scale) = (update.applied, update.state.scale);
        let arrays = update.state.matrices().map(|values| flat(py, values));
        Ok((applied, figures, scale, arrays))
    }
}

impl HeadLearner {
    fn change<T>(&self, change: impl FnOnce(&mut learning::HeadLearner) -> Result<T>) -> Result<T> {
        // What it keeps between two calls is written anew by each.
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
