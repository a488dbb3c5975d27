//! `MicroLora`: an adapter that learns, over NumPy vectors.

use std::sync::{PoisonError, RwLock};

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::lora::{self, EwcTerm, Halves, MicroFeedback, MicroMap};

use crate::arrays::{contiguous, contiguous_mut, flat};
use crate::run::run;
use crate::system::choose_kernels;

/// An adapter that learns; maps are named by their place in the list that it was made with.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct MicroLora(RwLock<lora::MicroLora>);

/// What an answer says, in Python; any object with these attributes.
#[derive(FromPyObject)]
struct Feedback<'py> {
    gradient_estimate: Option<Bound<'py, PyAny>>,
    quality: f32,
    reward: Option<f32>,
    latency_us: u64,
}

/// What holds the map with that number: arrays as [`HELD`] names them, B turned over.
#[derive(FromPyObject)]
struct Term<'py>(usize, [Bound<'py, PyAny>; 4]);

const HELD: [&str; 4] = ["fisher_a", "fisher_b", "optimal_a", "optimal_b"];

type FloatArray<'py> = Bound<'py, PyArray1<f32>>;
/// A, and B turned over.
type Arrays<'py> = (FloatArray<'py>, FloatArray<'py>);

/// Adaptations, those without a gradient, those that wait, updates, the sums of qualities and of latencies.
type Counts = (u64, u64, u64, u64, f64, u64);

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

#[pymethods]
impl MicroLora {
    #[new]
    fn new(
        py: Python<'_>,
        maps: Vec<(String, usize, usize)>,
        settings: (usize, f32, f32, u64),
        isa: Option<&str>,
    ) -> PyResult<Self> {
        let named = |(name, inputs, outputs)| MicroMap {
            name,
            inputs,
            outputs,
        };
        run(py, || {
            let maps = maps.into_iter().map(named).collect();
            let made = lora::MicroLora::new(choose_kernels(isa)?, settings.into(), maps)?;
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
        let views = terms.iter().map(|Term(_, arrays)| {
            let named = HELD.iter().zip(arrays);
            let views = named.map(|(name, array)| contiguous::<f32>(name, array));
            views.collect::<PyResult<Vec<_>>>()
        });
        let views = views.collect::<PyResult<Vec<_>>>()?;
        let held = terms.iter().zip(&views).map(|(Term(place, _), views)| {
            Ok(EwcTerm {
                place: *place,
                lambda: strength,
                fisher: (views[0].as_slice()?, views[1].as_slice()?),
                optimal: (views[2].as_slice()?, views[3].as_slice()?),
            })
        });
        let held = held.collect::<PyResult<Vec<_>>>()?;
        run(py, || {
            self.change(|micro| micro.apply(learning_rate, &held))
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
    fn scale(&self) -> f32 {
        self.read(lora::MicroLora::scale)
    }

    fn stats(&self) -> Counts {
        let stats = self.read(lora::MicroLora::stats);
        (
            stats.adaptations,
            stats.without_gradient,
            stats.pending,
            stats.updates,
            stats.quality_sum,
            stats.latency_sum_us,
        )
    }
}
