//! `Training`: an adapter being trained through a whole model.

use std::sync::{PoisonError, RwLock};

use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use ruvllm_core::training::{self, Example, Keeping, Kind, StepSettings, TrainingSettings};

use crate::arrays::{contiguous, rows};
use crate::convert::choice;
use crate::model::Model;
use crate::run::run;

/// An adapter being trained. Any thread; one at a time works.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct Training(RwLock<training::Training>);

/// Tokens, ids and shares of an example.
type Arrays<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Views of them.
struct Views<'py> {
    tokens: PyReadonlyArrayDyn<'py, u32>,
    ids: PyReadonlyArrayDyn<'py, u32>,
    shares: PyReadonlyArrayDyn<'py, f32>,
}

impl Training {
    fn read<T>(&self, look: impl FnOnce(&training::Training) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut training::Training) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'py> Views<'py> {
    fn new((tokens, ids, shares): &Arrays<'py>) -> PyResult<Self> {
        Ok(Self {
            tokens: contiguous("tokens", tokens)?,
            ids: contiguous("ids", ids)?,
            shares: contiguous("shares", shares)?,
        })
    }

    fn example(&self) -> PyResult<Example<'_>> {
        Ok(Example {
            tokens: self.tokens.as_slice()?,
            ids: self.ids.as_slice()?,
            shares: self.shares.as_slice()?,
        })
    }
}

#[pymethods]
impl Training {
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the face in Python"
    )]
    #[pyo3(signature = (model, *, rank, alpha, modules, seed, layers=None))]
    fn new(
        py: Python<'_>,
        model: &Model,
        rank: usize,
        alpha: f32,
        modules: Vec<String>,
        seed: u64,
        layers: Option<Vec<usize>>,
    ) -> PyResult<Self> {
        let settings = TrainingSettings {
            rank,
            alpha,
            modules,
            seed,
            layers,
        };
        let model = model.model.clone();
        run(py, || {
            let made = training::Training::new(model, &settings)?;
            Ok(Self(RwLock::new(made)))
        })
    }

    /// Names, and rows and columns.
    fn tensors(&self) -> Vec<(String, (usize, usize))> {
        let named = |tensor: &training::Tensor| (tensor.name().to_owned(), tensor.shape());
        self.read(|training| training.tensors().map(named).collect())
    }

    #[pyo3(signature = (name, kind="value"))]
    #[pyo3(name = "read")]
    fn read_tensor(&self, py: Python<'_>, name: &str, kind: &str) -> PyResult<Py<PyAny>> {
        let (values, columns) = run(py, || {
            let kind = choice("kind", kind, &Kind::NAMES)?;
            self.read(|training| {
                let tensor = training.tensor(name)?;
                Ok((tensor.numbers(kind), tensor.shape().1))
            })
        })?;
        rows(py, values, Some(columns))
    }

    fn write(&self, name: &str, kind: &str, values: &Bound<'_, PyAny>) -> PyResult<()> {
        let view = contiguous::<f32>("values", values)?;
        let numbers = view.as_slice()?;
        run(values.py(), || {
            let kind = choice("kind", kind, &Kind::NAMES)?;
            self.change(|training| training.write(name, kind, numbers))
        })
    }

    /// Steps that were made.
    #[getter]
    fn steps(&self) -> u64 {
        self.read(training::Training::steps)
    }

    fn set_steps(&self, steps: u64) {
        self.change(|training| training.set_steps(steps));
    }

    #[pyo3(signature = (examples, *, recompute=true))]
    fn accumulate(
        &self,
        py: Python<'_>,
        examples: Vec<Arrays<'_>>,
        recompute: bool,
    ) -> PyResult<Vec<f64>> {
        let views = examples.iter().map(Views::new);
        let views = views.collect::<PyResult<Vec<_>>>()?;
        let examples = views.iter().map(Views::example);
        let examples = examples.collect::<PyResult<Vec<_>>>()?;
        let keeping = if recompute {
            Keeping::Inputs
        } else {
            Keeping::Everything
        };
        run(py, || {
            self.change(|training| training.accumulate(&examples, keeping))
        })
    }

    fn log_probs(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        ids: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let tokens = contiguous::<u32>("tokens", tokens)?;
        let ids = contiguous::<u32>("ids", ids)?;
        let (tokens, asked) = (tokens.as_slice()?, ids.as_slice()?);
        let found = run(py, || {
            self.read(|training| training.log_probs(tokens, asked))
        })?;
        rows(py, found, Some(asked.len() / tokens.len().max(1)))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the face in Python"
    )]
    #[pyo3(signature = (*, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, max_gradient_norm=None, scale=1.0))]
    fn step(
        &self,
        py: Python<'_>,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        max_gradient_norm: Option<f64>,
        scale: f64,
    ) -> PyResult<f64> {
        let settings = StepSettings {
            learning_rate,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            max_gradient_norm,
            scale,
        };
        run(py, || self.change(|training| training.step(&settings)))
    }

    /// Most that was held for a way back so far.
    fn activation_bytes(&self) -> usize {
        self.read(training::Training::activation_bytes)
    }
}
