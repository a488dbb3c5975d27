//! `MicroLora`: an adapter that learns, over NumPy vectors.

use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use ruvllm_core::lora::{
    self, EwcTerm, Halves, MicroFeedback, MicroMap, MicroSettings, MicroStats,
};

use crate::arrays::{contiguous, contiguous_mut, flat};
use crate::run::run;
use crate::system::choose_kernels;

/// An adapter that learns; maps are named by their place in the list that it was made with.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct MicroLora(RwLock<lora::MicroLora>);

/// What holds for all of its maps, in Python; any object with these attributes.
#[derive(FromPyObject)]
struct Settings {
    rank: usize,
    alpha: f32,
    dropout: f32,
    seed: u64,
}

/// What an answer says, in Python; any object with these attributes.
#[derive(FromPyObject)]
struct Feedback<'py> {
    gradient_estimate: Option<Bound<'py, PyAny>>,
    quality: f32,
    reward: Option<f32>,
    latency_us: u64,
}

/// Fisher and optimal values of A and of B turned over, of the map with that number.
#[derive(FromPyObject)]
struct Term<'py>(
    usize,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
);

type FloatArray<'py> = Bound<'py, PyArray1<f32>>;
/// A, and B turned over.
type Arrays<'py> = (FloatArray<'py>, FloatArray<'py>);

/// What was counted.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct MicroCounts {
    adaptations: u64,
    without_gradient: u64,
    pending: u64,
    updates: u64,
    quality_sum: f64,
    latency_sum_us: u64,
    num_parameters: usize,
}

impl MicroLora {
    fn read<T>(&self, look: impl FnOnce(&lora::MicroLora) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut lora::MicroLora) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn arrays(py: Python<'_>, Halves { a, b }: Halves) -> Arrays<'_> {
    (flat(py, a), flat(py, b))
}

fn views<'py>(term: &Term<'py>) -> PyResult<[PyReadonlyArrayDyn<'py, f32>; 4]> {
    Ok([
        contiguous("fisher_a", &term.1)?,
        contiguous("fisher_b", &term.2)?,
        contiguous("optimal_a", &term.3)?,
        contiguous("optimal_b", &term.4)?,
    ])
}

#[pymethods]
impl MicroLora {
    #[new]
    fn new(
        py: Python<'_>,
        maps: Vec<(String, usize, usize)>,
        settings: Settings,
        isa: Option<&str>,
    ) -> PyResult<Self> {
        let named = |(name, inputs, outputs)| MicroMap {
            name,
            inputs,
            outputs,
        };
        run(py, || {
            let settings = MicroSettings {
                rank: settings.rank,
                alpha: settings.alpha,
                dropout: settings.dropout,
                seed: settings.seed,
            };
            let maps = maps.into_iter().map(named).collect();
            let made = lora::MicroLora::new(choose_kernels(isa)?, settings, maps)?;
            Ok(Self(RwLock::new(made)))
        })
    }

    fn forward<'py>(&self, place: usize, input: &Bound<'py, PyAny>) -> PyResult<FloatArray<'py>> {
        let view = contiguous::<f32>("input", input)?;
        let values = view.as_slice()?;
        let output = run(input.py(), || {
            self.read(|micro| micro.forward(place, values))
        })?;
        Ok(flat(input.py(), output))
    }

    fn forward_add(
        &self,
        place: usize,
        input: &Bound<'_, PyAny>,
        output: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let view = contiguous::<f32>("input", input)?;
        let mut target = contiguous_mut::<f32>("output", output)?;
        let (values, sums) = (view.as_slice()?, target.as_slice_mut()?);
        run(input.py(), || {
            self.read(|micro| micro.forward_add(place, values, sums))
        })
    }

    fn adapt(
        &self,
        places: Vec<usize>,
        input: &Bound<'_, PyAny>,
        feedback: Feedback<'_>,
    ) -> PyResult<bool> {
        let view = contiguous::<f32>("input", input)?;
        let gradient = feedback.gradient_estimate.as_ref();
        let gradient = gradient
            .map(|gradient| contiguous::<f32>("gradient_estimate", gradient))
            .transpose()?;
        let values = view.as_slice()?;
        let feedback = MicroFeedback {
            gradient: gradient.as_ref().map(|view| view.as_slice()).transpose()?,
            quality: feedback.quality,
            reward: feedback.reward,
            latency_us: feedback.latency_us,
        };
        run(input.py(), || {
            self.change(|micro| micro.adapt(&places, values, feedback))
        })
    }

    fn apply(
        &self,
        py: Python<'_>,
        learning_rate: f32,
        strength: f32,
        terms: Vec<Term<'_>>,
    ) -> PyResult<u64> {
        let views = terms.iter().map(views).collect::<PyResult<Vec<_>>>()?;
        let slices = terms.iter().zip(&views).map(|(term, [a, b, c, d])| {
            Ok(EwcTerm {
                place: term.0,
                lambda: strength,
                fisher: (a.as_slice()?, b.as_slice()?),
                optimal: (c.as_slice()?, d.as_slice()?),
            })
        });
        let terms = slices.collect::<PyResult<Vec<_>>>()?;
        run(py, || {
            self.change(|micro| micro.apply(learning_rate, &terms))
        })
    }

    /// A and B turned over, of each map.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Vec<Arrays<'py>>> {
        let copied = run(py, || {
            Ok(self.read(|micro| micro.weights().cloned().collect::<Vec<_>>()))
        })?;
        Ok(copied
            .into_iter()
            .map(|halves| arrays(py, halves))
            .collect())
    }

    /// The same, and before them the means of the squares of their gradients since the last time.
    fn take_fisher<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Vec<(Option<Arrays<'py>>, Arrays<'py>)>> {
        let taken = run(py, || {
            Ok(self.change(|micro| {
                let fisher = micro.take_fisher();
                let weights: Vec<_> = micro.weights().cloned().collect();
                fisher.into_iter().zip(weights).collect::<Vec<_>>()
            }))
        })?;
        let both = |(fisher, weights): (Option<Halves>, Halves)| {
            (fisher.map(|fisher| arrays(py, fisher)), arrays(py, weights))
        };
        Ok(taken.into_iter().map(both).collect())
    }

    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            self.change(lora::MicroLora::reset);
            Ok(())
        })
    }

    #[getter]
    fn scale(&self, py: Python<'_>) -> PyResult<f32> {
        run(py, || Ok(self.read(lora::MicroLora::scale)))
    }

    fn stats(&self, py: Python<'_>) -> PyResult<MicroCounts> {
        let (stats, num_parameters) = run(py, || {
            Ok(self.read(|micro| (micro.stats(), micro.num_parameters())))
        })?;
        let MicroStats {
            adaptations,
            without_gradient,
            pending,
            updates,
            quality_sum,
            latency_sum_us,
        } = stats;
        Ok(MicroCounts {
            adaptations,
            without_gradient,
            pending,
            updates,
            quality_sum,
            latency_sum_us,
            num_parameters,
        })
    }
}
