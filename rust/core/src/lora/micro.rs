//! MicroLoRA: an adapter of rank 1 or 2 that learns while it is used, one linear map of a model beside another.
//!
//! What it adds to a map's output is `y = scale * B (A x)`. [`MicroLora::adapt`] adds up the gradients that follow from
//! the loss's gradient at `y`; [`MicroLora::apply`] takes one step along their mean. Each call is checked as a whole
//! before anything of it is kept, so one that fails has changed nothing. It knows no model, and no clock.

use std::sync::Arc;

use ruvllm_kernels::Kernels;

use crate::error::{Error, Result};
use crate::sampling::Random;

use super::micro_ewc::EwcTerm;
use super::micro_map::{Halves, MAX_RANK, MicroMap, is_finite};
use super::micro_place::{Learned, Place};

/// Numbers of all matrices together: more than rank 2 on all maps of the largest models.
const MAX_PARAMETERS: usize = 1 << 28;

/// What holds for all maps of an adapter.
#[derive(Debug, Clone, Copy)]
pub struct MicroSettings {
    /// Rows of A, columns of B: 1 or 2.
    pub rank: usize,
    /// Over the rank, what the product is multiplied with.
    pub alpha: f32,
    /// The share of inputs that a gradient leaves out, each by chance; in `0..1`.
    pub dropout: f32,
    /// What A begins with, and which inputs are left out, follow from it.
    pub seed: u64,
}

impl From<(usize, f32, f32, u64)> for MicroSettings {
    /// Its fields in their order.
    fn from((rank, alpha, dropout, seed): (usize, f32, f32, u64)) -> Self {
        Self {
            rank,
            alpha,
            dropout,
            seed,
        }
    }
}

/// What one answer says of the adapter that it was made with.
#[derive(Debug, Clone, Copy)]
pub struct MicroFeedback<'a> {
    /// The loss's gradient at the map's output; `None` where nobody knows it.
    pub gradient: Option<&'a [f32]>,
    /// In `0..=1`; the gradient is multiplied with it.
    pub quality: f32,
    /// The gradient is multiplied with it, too: what is below 0 goes the other way.
    pub reward: Option<f32>,
    /// How long the answer took; it is counted alone.
    pub latency_us: u64,
}

/// What was counted since the adapter was made, or reset.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MicroStats {
    /// Feedback whose gradient was added up.
    pub adaptations: u64,
    /// Feedback that had none, and changed nothing.
    pub without_gradient: u64,
    /// Of the former, what no step has taken yet.
    pub pending: u64,
    /// Steps that were taken.
    pub updates: u64,
    /// The qualities of all feedback.
    pub quality_sum: f64,
    /// The latencies of all feedback.
    pub latency_sum_us: u64,
}

/// An adapter that learns.
#[derive(Debug)]
pub struct MicroLora {
    kernels: Arc<dyn Kernels>,
    settings: MicroSettings,
    places: Vec<Place>,
    /// Which inputs the next gradient leaves out.
    random: Random,
    stats: MicroStats,
}

impl MicroLora {
    /// One that adds nothing yet: A is small and random, B is 0.
    pub fn new(
        kernels: Arc<dyn Kernels>,
        settings: MicroSettings,
        maps: Vec<MicroMap>,
    ) -> Result<Self> {
        let MicroSettings {
            rank,
            alpha,
            dropout,
            seed,
        } = settings;
        if rank == 0 || rank > MAX_RANK {
            return Err(Error::Config(format!(
                "rank is {rank}; it must be 1 or {MAX_RANK}"
            )));
        }
        if !alpha.is_finite() || !(0.0..1.0).contains(&dropout) {
            return Err(Error::Config(format!(
                "alpha is {alpha} and dropout {dropout}; they must be finite, and at least 0 and below 1"
            )));
        }
        let lengths = maps
            .iter()
            .map(|map| map.inputs.saturating_add(map.outputs));
        let numbers = lengths.fold(0_usize, usize::saturating_add);
        if maps.is_empty() || numbers.saturating_mul(rank) > MAX_PARAMETERS {
            return Err(Error::Config(format!(
                "{} maps have {numbers} inputs and outputs; there must be some, and at most {}",
                maps.len(),
                MAX_PARAMETERS / rank
            )));
        }
        let places = maps.into_iter().enumerate();
        Ok(Self {
            kernels,
            settings,
            places: places
                .map(|(index, map)| Place::new(map, rank, seed.wrapping_add(1 + index as u64)))
                .collect::<Result<_>>()?,
            random: Random::new(seed),
            stats: MicroStats::default(),
        })
    }

    /// What the product is multiplied with.
    pub fn scale(&self) -> f32 {
        self.settings.alpha / self.settings.rank as f32
    }

    /// What was counted.
    pub fn stats(&self) -> MicroStats {
        self.stats
    }

    /// `output += scale * B (A input)`
    pub fn forward_add(&self, place: usize, input: &[f32], output: &mut [f32]) -> Result<()> {
        let place = self.place(place)?;
        place.map.check_lengths(input, "output", output)?;
        let reduced = place.reduce(&*self.kernels, input)?;
        place.expand(&*self.kernels, reduced, self.scale(), output);
        Ok(())
    }

    /// `scale * B (A input)`
    pub fn forward(&self, place: usize, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.place(place)?.map.outputs];
        self.forward_add(place, input, &mut output)?;
        Ok(output)
    }

    /// Adds up what feedback says of the maps that had this input; whether it said anything.
    pub fn adapt(
        &mut self,
        places: &[usize],
        input: &[f32],
        feedback: MicroFeedback<'_>,
    ) -> Result<bool> {
        let weight = feedback.quality * feedback.reward.unwrap_or(1.0);
        let mut random = self.random.clone();
        let mut learned: Vec<(usize, Learned)> = Vec::with_capacity(places.len());
        if !is_finite(input) {
            return Err(Error::Config(
                "input has values that are no numbers; none was added up".to_owned(),
            ));
        }
        for index in places {
            let place = self.place(*index)?;
            let Some(gradient) = feedback.gradient else {
                place.map.check_input(input)?;
                continue;
            };
            place
                .map
                .check_lengths(input, "gradient_estimate", gradient)?;
            let kept = self.left_in(input, &mut random);
            let step = (kept.as_deref().unwrap_or(input), gradient);
            let factors = (self.scale(), weight);
            learned.push((*index, place.learn(&*self.kernels, step, factors)?));
        }
        self.random = random;
        let is_learned = !learned.is_empty();
        for (index, learned) in learned {
            self.places[index].keep(learned);
        }
        self.stats.adaptations += u64::from(is_learned);
        self.stats.pending += u64::from(is_learned);
        self.stats.without_gradient += u64::from(!is_learned);
        self.stats.quality_sum += f64::from(feedback.quality);
        self.stats.latency_sum_us = self
            .stats
            .latency_sum_us
            .saturating_add(feedback.latency_us);
        Ok(is_learned)
    }

    /// One step against the mean of what each map has added up, then towards what the terms hold fast; how many
    /// adaptations went into it.
    pub fn apply(&mut self, learning_rate: f32, terms: &[EwcTerm<'_>]) -> Result<u64> {
        if !(learning_rate >= 0.0 && learning_rate.is_finite()) {
            return Err(Error::Config(format!(
                "the learning rate is {learning_rate}; it must be 0 or more and finite"
            )));
        }
        for term in terms {
            let place = self.place(term.place)?;
            term.check(&place.map, &place.weights)?;
        }
        let places = self.places.iter().enumerate();
        let stepped: Vec<Option<Halves>> = places
            .map(|(index, place)| {
                let of_place = terms.iter().filter(|term| term.place == index);
                place.step(&*self.kernels, learning_rate, of_place)
            })
            .collect::<Result<_>>()?;
        for (place, weights) in self.places.iter_mut().zip(stepped) {
            place.replace(weights);
        }
        let taken = std::mem::take(&mut self.stats.pending);
        self.stats.updates += 1;
        Ok(taken)
    }

    /// The matrices of each map.
    pub fn weights(&self) -> impl Iterator<Item = &Halves> {
        self.places.iter().map(|place| &place.weights)
    }

    /// For each map the mean of the squares of its gradients since the last time, which is how much its weights matter to
    /// what it learned (the diagonal of the empirical Fisher information); `None` where it learned nothing.
    pub fn take_fisher(&mut self) -> Vec<Option<Halves>> {
        self.places.iter_mut().map(Place::take_fisher).collect()
    }

    /// As new.
    pub fn reset(&mut self) {
        let MicroSettings { rank, seed, .. } = self.settings;
        for (index, place) in self.places.iter_mut().enumerate() {
            place.reset(rank, seed.wrapping_add(1 + index as u64));
        }
        self.random = Random::new(seed);
        self.stats = MicroStats::default();
    }

    /// What dropout leaves of an input, the others made larger for it; `None` where it leaves all.
    fn left_in(&self, input: &[f32], random: &mut Random) -> Option<Vec<f32>> {
        let dropout = self.settings.dropout;
        let larger = 1.0 / (1.0 - dropout);
        (dropout > 0.0).then(|| {
            let values = input.iter();
            let is_out = |random: &mut Random| random.unit() < f64::from(dropout);
            values
                .map(|value| if is_out(random) { 0.0 } else { value * larger })
                .collect()
        })
    }

    fn place(&self, index: usize) -> Result<&Place> {
        let count = self.places.len();
        let missing = || Error::NotFound(format!("there is no map {index}; there are {count}"));
        self.places.get(index).ok_or_else(missing)
    }
}
