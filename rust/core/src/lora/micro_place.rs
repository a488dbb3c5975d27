//! One linear map's part of a MicroLoRA: its matrices, and what was learned and not yet applied.

use ruvllm_kernels::Kernels;

use crate::error::{Error, Result};
use crate::sampling::Random;

use super::micro_ewc::EwcTerm;
use super::micro_map::{Halves, MAX_RANK, MicroMap, is_finite};

/// Gradients, added up.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    sum: Halves,
    /// Of how many.
    count: u32,
}

/// What a map will have added up when a call is through.
#[derive(Debug)]
pub(super) struct Learned {
    gradients: Gathered,
    squares: Gathered,
}

/// A map, its matrices and what it learned.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) map: MicroMap,
    pub(super) weights: Halves,
    /// Since the last step; none where it learned nothing.
    gradients: Option<Gathered>,
    /// Since they were last taken.
    squares: Option<Gathered>,
}

impl Place {
    pub(super) fn new(map: MicroMap, rank: usize, seed: u64) -> Result<Self> {
        if map.inputs == 0 || map.outputs == 0 {
            return Err(Error::Config(format!(
                "{} has {} inputs and {} outputs; it must have some",
                map.name, map.inputs, map.outputs
            )));
        }
        let weights = beginning(&map, rank, seed);
        Ok(Self {
            map,
            weights,
            gradients: None,
            squares: None,
        })
    }

    pub(super) fn reset(&mut self, rank: usize, seed: u64) {
        self.weights = beginning(&self.map, rank, seed);
        (self.gradients, self.squares) = (None, None);
    }

    /// `A x`, a number for each rank and 0 behind them. What is no number in an input is none here.
    pub(super) fn reduce(&self, kernels: &dyn Kernels, input: &[f32]) -> Result<[f32; MAX_RANK]> {
        let rows = self.weights.a.chunks_exact(self.map.inputs);
        self.dots(kernels, ("input", input), rows)
    }

    /// `output += scale * B reduced`
    pub(super) fn expand(
        &self,
        kernels: &dyn Kernels,
        reduced: [f32; MAX_RANK],
        scale: f32,
        output: &mut [f32],
    ) {
        let rows = self.weights.b.chunks_exact(self.map.outputs);
        for (reduced, row) in reduced.iter().zip(rows) {
            kernels.add_scaled(scale * reduced, row, output);
        }
    }

    /// What a gradient at the output says of the matrices, beside what is added up already.
    ///
    /// `y = scale * sum of b[r] (a[r] . x)`, so the gradient at `a[r]` is `scale (b[r] . g) x`, and at `b[r]`
    /// `scale (a[r] . x) g`.
    pub(super) fn learn(
        &self,
        kernels: &dyn Kernels,
        (input, gradient): (&[f32], &[f32]),
        (scale, weight): (f32, f32),
    ) -> Result<Learned> {
        let factor = scale * weight;
        let reduced = self.reduce(kernels, input)?;
        let rows = self.weights.b.chunks_exact(self.map.outputs);
        let returned = self.dots(kernels, ("gradient_estimate", gradient), rows)?;
        let mut gradients = self.or_zeros(self.gradients.as_ref());
        let mut squares = self.or_zeros(self.squares.as_ref());
        let of_a = (&mut gradients.sum.a[..], &mut squares.sum.a[..]);
        gather(kernels, returned.map(|number| factor * number), input, of_a);
        let of_b = (&mut gradients.sum.b[..], &mut squares.sum.b[..]);
        gather(
            kernels,
            reduced.map(|number| factor * number),
            gradient,
            of_b,
        );
        for gathered in [&mut gradients, &mut squares] {
            gathered.count = gathered.count.saturating_add(1);
        }
        if !(gradients.sum.is_finite() && squares.sum.is_finite()) {
            return Err(self.too_large("the gradient of"));
        }
        Ok(Learned { gradients, squares })
    }

    pub(super) fn keep(&mut self, learned: Learned) {
        self.gradients = Some(learned.gradients);
        self.squares = Some(learned.squares);
    }

    /// The matrices after a step; `None` where there is nothing to go by.
    pub(super) fn step<'a>(
        &self,
        kernels: &dyn Kernels,
        learning_rate: f32,
        terms: impl Iterator<Item = &'a EwcTerm<'a>>,
    ) -> Result<Option<Halves>> {
        let mut terms = terms.peekable();
        if self.gradients.is_none() && terms.peek().is_none() {
            return Ok(None);
        }
        let mut weights = self.weights.clone();
        if let Some(gathered) = &self.gradients {
            let factor = -learning_rate / gathered.count as f32;
            kernels.add_scaled(factor, &gathered.sum.a, &mut weights.a);
            kernels.add_scaled(factor, &gathered.sum.b, &mut weights.b);
        }
        for term in terms {
            term.pull(learning_rate, &mut weights);
        }
        if !weights.is_finite() {
            return Err(self.too_large("a step so long from"));
        }
        Ok(Some(weights))
    }

    pub(super) fn replace(&mut self, weights: Option<Halves>) {
        if let Some(weights) = weights {
            self.weights = weights;
        }
        self.gradients = None;
    }

    /// The mean of the squares of its gradients, which begin anew.
    pub(super) fn take_fisher(&mut self) -> Option<Halves> {
        let Gathered { mut sum, count } = self.squares.take()?;
        for value in sum.a.iter_mut().chain(&mut sum.b) {
            *value /= count as f32;
        }
        Some(sum)
    }

    fn or_zeros(&self, gathered: Option<&Gathered>) -> Gathered {
        let rank = self.weights.a.len() / self.map.inputs;
        gathered.cloned().unwrap_or_else(|| Gathered {
            sum: Halves::zeros(&self.map, rank),
            count: 0,
        })
    }

    /// The dot products of rows with something that must be numbers.
    fn dots<'a>(
        &self,
        kernels: &dyn Kernels,
        (name, values): (&str, &[f32]),
        rows: impl Iterator<Item = &'a [f32]>,
    ) -> Result<[f32; MAX_RANK]> {
        let mut dots = [0.0; MAX_RANK];
        for (dot, row) in dots.iter_mut().zip(rows) {
            *dot = kernels.dot(row, values);
        }
        // Times what is no number even 0 is none.
        if is_finite(&dots) {
            return Ok(dots);
        }
        Err(Error::Config(format!(
            "{name} of {} has values that are no numbers, or too large",
            self.map.name
        )))
    }

    fn too_large(&self, what: &str) -> Error {
        Error::Adapter(format!(
            "{what} {} is too large for 32 bits; nothing was changed",
            self.map.name
        ))
    }
}

/// What matrices are before they learned: A small, so that a row of it gives numbers of its input's magnitude, and B 0.
fn beginning(map: &MicroMap, rank: usize, seed: u64) -> Halves {
    let mut random = Random::new(seed);
    let bound = 1.0 / (map.inputs as f64).sqrt();
    let numbers = std::iter::repeat_with(|| (bound * (2.0 * random.unit() - 1.0)) as f32);
    Halves {
        a: numbers.take(rank * map.inputs).collect(),
        ..Halves::zeros(map, rank)
    }
}

/// Adds a multiple of `values` to each row of the sums, and the squares of it to the squares.
fn gather(
    kernels: &dyn Kernels,
    factors: [f32; MAX_RANK],
    values: &[f32],
    (sums, squares): (&mut [f32], &mut [f32]),
) {
    let rows = sums.chunks_exact_mut(values.len());
    let rows = rows.zip(squares.chunks_exact_mut(values.len()));
    for (factor, (sums, squares)) in factors.into_iter().zip(rows) {
        kernels.add_scaled(factor, values, sums);
        for (value, square) in values.iter().zip(squares) {
            let gradient = factor * value;
            *square += gradient * gradient;
        }
    }
}
