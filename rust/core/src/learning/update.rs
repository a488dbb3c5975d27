//! The step that feedback makes: up or down the gradient of an answer's mean log-likelihood with respect to A and B of an
//! adapter on the last hidden state, as far as a bound on the divergence allows, held by what must not be forgotten.

use ruvllm_kernels::Kernels;

use super::capture::Captured;
use super::direction::leading;
use super::head::HeadAdapter;
use super::measure::{Added, LogProbs, Measure};
use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::lora::MAX_RANK;

/// Numbers of the head that one update decodes, about, so that it takes the same time at any width.
const ROW_NUMBERS: usize = 1 << 18;
/// Corrections of a step's length, until its divergence is near the one that is allowed.
const CORRECTIONS: usize = 4;
/// Halvings of a step that does not keep its bounds.
const HALVINGS: usize = 6;

/// The head, row by row.
pub trait HeadRows {
    /// Its arithmetic.
    fn kernels(&self) -> &dyn Kernels;
    /// The rows of some tokens, one behind the other.
    fn rows(&self, tokens: &[TokenId], output: &mut [f32]);
    /// About the mean of all rows.
    fn mean_row(&self) -> &[f32];
    /// Where the logits are capped.
    fn soft_cap(&self) -> Option<f32>;
}

/// What a tenant has learned: matrices `[rank, width]`, B turned over.
#[derive(Debug, Clone)]
pub struct HeadState {
    /// All 0 where nothing is learned.
    pub a: Vec<f32>,
    /// What is added for it.
    pub b: Vec<f32>,
    /// What the sum is multiplied with.
    pub scale: f32,
    /// The importance of A and of B.
    pub fisher: (Vec<f32>, Vec<f32>),
    /// Where the penalty pulls them.
    pub anchor: (Vec<f32>, Vec<f32>),
}

/// How far an update may go.
#[derive(Debug, Clone, Copy)]
pub struct StepLimits {
    /// The divergence of an update with an advantage of 1, in nats a token.
    pub max_divergence: f32,
    /// How far the answer's probabilities may be from those without an adapter, likewise.
    pub max_drift: f32,
    /// How strongly importance holds.
    pub ewc_lambda: f32,
    /// What of the importance stays at each update.
    pub fisher_decay: f32,
    /// Gradients that an update follows, one after the other.
    pub steps: usize,
}

/// What an update did.
#[derive(Debug, Clone)]
pub struct Update {
    /// The state afterwards; as before where nothing moved.
    pub state: HeadState,
    /// Whether anything moved.
    pub applied: bool,
    /// The change of the mean log-probability of the answer's tokens.
    pub gain: f32,
    /// The divergence of the probabilities afterwards from those before, in nats a token.
    pub divergence: f32,
    /// That from those without an adapter.
    pub drift: f32,
}

/// Makes updates; keeps the memory that they take.
#[derive(Debug, Default)]
pub struct HeadLearner {
    measure: Measure,
    states: Vec<f32>,
    rows: Vec<f32>,
}

impl HeadLearner {
    /// What the answer's probabilities would be of a state: the mean log-probability of its tokens, and the
    /// divergence from no adapter.
    pub fn judge(
        &mut self,
        head: &dyn HeadRows,
        captured: &Captured,
        state: &HeadState,
    ) -> Result<(f32, f32)> {
        state.check(captured.width())?;
        self.look_at(head, captured)?;
        let point = Point::new(self.products(head.kernels(), captured), state.clone());
        Ok((
            self.measure.said(&point.probs),
            self.measure.divergence(&point.base, &point.probs),
        ))
    }

    /// Moves a state by an advantage in -1..=1: above 0 makes the answer likelier. With 0 nothing moves.
    pub fn update(
        &mut self,
        head: &dyn HeadRows,
        captured: &Captured,
        advantage: f32,
        state: &HeadState,
        limits: &StepLimits,
    ) -> Result<Update> {
        if !(-1.0..=1.0).contains(&advantage) {
            return Err(Error::Sona(format!(
                "the advantage is {advantage}; -1 to 1 is allowed"
            )));
        }
        state.check(captured.width())?;
        self.look_at(head, captured)?;
        let products = self.products(head.kernels(), captured);
        let start = if state.a.iter().any(|value| *value != 0.0) {
            state.clone()
        } else {
            products.beginning(state)
        };
        let first = Point::new(products, start);
        let mut best = first.clone();
        if advantage != 0.0 {
            for index in 0..limits.steps {
                let slope = best.slope(products);
                if index == 0 {
                    best.state
                        .note_importance(&slope, products.places, limits.fisher_decay);
                }
                let step = Step {
                    products,
                    limits,
                    advantage,
                    held_by: &state.fisher,
                };
                match step.take(&best, &slope) {
                    Some(next) => best = next,
                    None => break,
                }
            }
        }
        let measure = products.measure;
        let moved = best.state.a != first.state.a || best.state.b != first.state.b;
        Ok(Update {
            applied: moved,
            gain: measure.said(&best.probs) - measure.said(&first.probs),
            divergence: measure.divergence(&first.probs, &best.probs),
            drift: measure.divergence(&best.base, &best.probs),
            state: if moved { best.state } else { state.clone() },
        })
    }

    /// Takes in an answer: states, rows of the head, and what the logits were without an adapter.
    fn look_at(&mut self, head: &dyn HeadRows, captured: &Captured) -> Result<()> {
        let (mean, cap, width) = (head.mean_row(), head.soft_cap(), captured.width());
        if captured.is_empty() || mean.len() != width {
            return Err(Error::Sona(format!(
                "{} tokens with states of {width} numbers; there must be some, of {}",
                captured.len(),
                mean.len()
            )));
        }
        captured.states(&mut self.states);
        let choice = &mut self.measure.choice;
        choice.of(captured, (ROW_NUMBERS / width).max(1), cap.is_some());
        self.rows.resize((choice.tokens.len() + 1) * width, 0.0);
        let (rows, last) = self.rows.split_at_mut(choice.tokens.len() * width);
        head.rows(&choice.tokens, rows);
        last.copy_from_slice(mean);
        let Some(added) = captured.head() else {
            self.measure.take_base(cap, None);
            return Ok(());
        };
        let of_states = scaled_products(
            head.kernels(),
            &self.states,
            added.a(),
            width,
            added.scale(),
        );
        let of_rows = scaled_products(head.kernels(), &self.rows, added.b(), width, 1.0);
        let added = Added {
            rank: added.a().len() / width,
            states: &of_states,
            rows: &of_rows,
        };
        self.measure.take_base(cap, Some(added));
        Ok(())
    }

    fn products<'a>(&'a self, kernels: &'a dyn Kernels, captured: &Captured) -> Products<'a> {
        Products {
            kernels,
            measure: &self.measure,
            states: &self.states,
            rows: &self.rows,
            width: captured.width(),
            places: captured.len(),
        }
    }
}

/// What products are of: the states of an answer, and the rows of the head.
#[derive(Clone, Copy)]
struct Products<'a> {
    kernels: &'a dyn Kernels,
    measure: &'a Measure,
    states: &'a [f32],
    rows: &'a [f32],
    width: usize,
    places: usize,
}

/// A state, and what it makes of the answer.
#[derive(Clone)]
struct Point {
    state: HeadState,
    /// `scale * A h` of each place, `[places, rank]`.
    of_states: Vec<f32>,
    /// `w B` of each row, `[rows, rank]`.
    of_rows: Vec<f32>,
    probs: LogProbs,
    /// Those without an adapter.
    base: LogProbs,
}

/// The gradient of the mean log-probability of what was said, and what it makes of states and rows.
struct Slope {
    a: Vec<f32>,
    b: Vec<f32>,
    of_states: Vec<f32>,
    of_rows: Vec<f32>,
}

impl Products<'_> {
    /// Where a state that has learned nothing begins: A takes the largest directions of the states, each to
    /// about 1, and B is 0.
    fn beginning(&self, state: &HeadState) -> HeadState {
        let rank = state.a.len() / self.width;
        let mut a = leading(self.kernels, self.states, self.width, rank);
        let length = (self.kernels.dot(self.states, self.states) / self.places as f32).sqrt();
        let length = length.max(f32::MIN_POSITIVE.sqrt());
        for direction in a.chunks_exact_mut(self.width) {
            let products = self.states.chunks_exact(self.width);
            let squares: f32 = products
                .map(|h| self.kernels.dot(h, direction).powi(2))
                .sum();
            // A direction that hardly any state has is not made as large as the first.
            let size = (squares / self.places as f32).sqrt().max(length * 0.05);
            direction
                .iter_mut()
                .for_each(|value| *value *= length / size);
        }
        let nothing = vec![0.0; a.len()];
        HeadState {
            scale: 1.0 / length,
            b: nothing.clone(),
            fisher: (nothing.clone(), nothing.clone()),
            anchor: (a.clone(), nothing),
            a,
        }
    }

    fn of_states(&self, a: &[f32], scale: f32) -> Vec<f32> {
        scaled_products(self.kernels, self.states, a, self.width, scale)
    }

    fn of_rows(&self, b: &[f32]) -> Vec<f32> {
        scaled_products(self.kernels, self.rows, b, self.width, 1.0)
    }

    /// The sum of rows, each times its numbers of `factors` `[rows, rank]`: `[rank, width]`.
    fn sums(&self, rows: &[f32], factors: &[f32], rank: usize) -> Vec<f32> {
        let mut sums = vec![0.0; rank * self.width];
        for (row, factors) in rows
            .chunks_exact(self.width)
            .zip(factors.chunks_exact(rank))
        {
            for (factor, sum) in factors.iter().zip(sums.chunks_exact_mut(self.width)) {
                self.kernels.add_scaled(*factor, row, sum);
            }
        }
        sums
    }
}

/// The products of each row of `rows` with each of `vectors`, `[rows, vectors]`.
fn scaled_products(
    kernels: &dyn Kernels,
    rows: &[f32],
    vectors: &[f32],
    width: usize,
    scale: f32,
) -> Vec<f32> {
    let rows = rows.chunks_exact(width);
    rows.flat_map(|row| {
        let vectors = vectors.chunks_exact(width);
        vectors.map(move |vector| scale * kernels.dot(row, vector))
    })
    .collect()
}

impl Point {
    fn new(products: Products<'_>, state: HeadState) -> Self {
        let of_states = products.of_states(&state.a, state.scale);
        let of_rows = products.of_rows(&state.b);
        let rank = state.a.len() / products.width;
        let (mut probs, mut base) = (LogProbs::default(), LogProbs::default());
        let nothing = Added {
            rank: 0,
            states: &[],
            rows: &[],
        };
        products.measure.log_probs(nothing, &mut base);
        let added = Added {
            rank,
            states: &of_states,
            rows: &of_rows,
        };
        products.measure.log_probs(added, &mut probs);
        Self {
            state,
            of_states,
            of_rows,
            probs,
            base,
        }
    }

    fn rank(&self, width: usize) -> usize {
        self.state.a.len() / width
    }

    /// The gradient here.
    fn slope(&self, products: Products<'_>) -> Slope {
        let (measure, rank) = (products.measure, self.rank(products.width));
        let added = Added {
            rank,
            states: &self.of_states,
            rows: &self.of_rows,
        };
        let mut of_rows = vec![0.0; self.of_rows.len()];
        let mut of_states = vec![0.0; self.of_states.len()];
        let part = 1.0 / products.places as f32;
        let rest_row = measure.choice.tokens.len();
        for (place, range) in measure.choice.places().enumerate() {
            let mut note = |row: usize, pull: f32| {
                for index in 0..rank {
                    let (state, row) = (place * rank + index, row * rank + index);
                    of_rows[row] += part * pull * self.of_states[state];
                    of_states[state] += part * pull * self.of_rows[row];
                }
            };
            let said = measure.choice.said[place];
            for index in range {
                let row = measure.choice.pairs[index].row as usize;
                let pull = f32::from(u8::from(index == said)) - self.probs.pairs[index].exp();
                note(row, pull * measure.slope(index, added.at(place, row)));
            }
            note(rest_row, -self.probs.rest[place].exp());
        }
        let b = products.sums(products.rows, &of_rows, rank);
        let mut a = products.sums(products.states, &of_states, rank);
        a.iter_mut().for_each(|value| *value *= self.state.scale);
        Slope {
            of_states: products.of_states(&a, self.state.scale),
            of_rows: products.of_rows(&b),
            a,
            b,
        }
    }
}

impl HeadState {
    /// Adds the squares of a gradient to the importance, which fades: those of the sum over the tokens, a token.
    fn note_importance(&mut self, slope: &Slope, places: usize, decay: f32) {
        let (fisher_a, fisher_b) = &mut self.fisher;
        for (fisher, slope) in [(fisher_a, &slope.a), (fisher_b, &slope.b)] {
            for (fisher, slope) in fisher.iter_mut().zip(slope) {
                *fisher = decay * *fisher + places as f32 * slope * slope;
            }
        }
    }
}

/// One step along a gradient.
struct Step<'a> {
    products: Products<'a>,
    limits: &'a StepLimits,
    advantage: f32,
    /// The importance before this update.
    held_by: &'a (Vec<f32>, Vec<f32>),
}

impl Step<'_> {
    /// The point after it; `None` where every step would break a bound or go the wrong way.
    fn take(&self, from: &Point, slope: &Slope) -> Option<Point> {
        let length = self.length(from, slope)?;
        let target = self.moved(&from.state, slope, length);
        let mut share = 1.0;
        for _ in 0..HALVINGS {
            let between = |from: &[f32], to: &[f32]| -> Vec<f32> {
                let pairs = from.iter().zip(to);
                pairs.map(|(from, to)| from + share * (to - from)).collect()
            };
            let state = HeadState {
                a: between(&from.state.a, &target.0),
                b: between(&from.state.b, &target.1),
                ..from.state.clone()
            };
            let point = Point::new(self.products, state);
            if self.keeps_bounds(from, &point) {
                return Some(point);
            }
            share *= 0.5;
        }
        None
    }

    /// The divergence that a step may make.
    fn allowed(&self) -> f32 {
        let steps = self.limits.steps.max(1) as f32;
        // Of a step half as long it is a quarter: so a step's length is as the advantage.
        self.limits.max_divergence * self.advantage.powi(2) / steps.powi(2)
    }

    fn keeps_bounds(&self, from: &Point, to: &Point) -> bool {
        let measure = self.products.measure;
        let gain = measure.said(&to.probs) - measure.said(&from.probs);
        let drift = measure.divergence(&to.base, &to.probs);
        let before = measure.divergence(&from.base, &from.probs);
        // A little more than allowed, since the pull is not part of what was measured.
        gain * self.advantage > 0.0
            && measure.divergence(&from.probs, &to.probs) <= 1.1 * self.allowed()
            && (drift <= self.limits.max_drift || drift < before)
    }

    /// How far along the gradient the divergence is what it may be.
    fn length(&self, from: &Point, slope: &Slope) -> Option<f32> {
        let measure = self.products.measure;
        let allowed = self.allowed();
        let sign = self.advantage.signum();
        let mut probs = LogProbs::default();
        let mut divergence = |length: f32| {
            let along = |from: &[f32], slope: &[f32]| -> Vec<f32> {
                let pairs = from.iter().zip(slope);
                pairs
                    .map(|(from, slope)| from + sign * length * slope)
                    .collect()
            };
            let added = Added {
                rank: from.rank(self.products.width),
                states: &along(&from.of_states, &slope.of_states),
                rows: &along(&from.of_rows, &slope.of_rows),
            };
            measure.log_probs(added, &mut probs);
            measure.divergence(&from.probs, &probs)
        };
        let steepness = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
        let squares = steepness(&slope.a) + steepness(&slope.b);
        if !(squares > 0.0 && squares.is_finite()) {
            return None;
        }
        // As if the likelihood rose by what is allowed; what divergence that makes says the rest.
        let mut length = allowed / squares;
        for _ in 0..CORRECTIONS {
            let found = divergence(length);
            if !found.is_finite() || found > 16.0 * allowed {
                length *= 0.25;
                continue;
            }
            if (0.9..=1.0).contains(&(found / allowed)) {
                break;
            }
            length *= (0.95 * allowed / found.max(allowed * 1e-3)).sqrt();
        }
        Some(length)
    }

    /// The state after so long a step, and after the penalty has pulled, which is solved exactly.
    fn moved(&self, state: &HeadState, slope: &Slope, length: f32) -> (Vec<f32>, Vec<f32>) {
        let sign = self.advantage.signum();
        let strength = self.limits.ewc_lambda * length / self.advantage.abs();
        let half = |values: &[f32], slope: &[f32], fisher: &[f32], anchor: &[f32]| -> Vec<f32> {
            let places = values.iter().zip(slope).zip(fisher.iter().zip(anchor));
            places
                .map(|((value, slope), (fisher, anchor))| {
                    let moved = value + sign * length * slope;
                    let pull = strength * fisher;
                    moved + (anchor - moved) * (pull / (1.0 + pull))
                })
                .collect()
        };
        (
            half(&state.a, &slope.a, &self.held_by.0, &state.anchor.0),
            half(&state.b, &slope.b, &self.held_by.1, &state.anchor.1),
        )
    }
}

impl HeadState {
    /// Refuses matrices that do not belong together, or hold what is no number.
    fn check(&self, width: usize) -> Result<()> {
        let Self {
            a,
            b,
            fisher,
            anchor,
            ..
        } = self;
        let others = [b, &fisher.0, &fisher.1, &anchor.0, &anchor.1];
        let rank = a.len() / width.max(1);
        let fit = others.iter().all(|other| other.len() == a.len());
        if !fit || a.len() != rank * width || !(1..=MAX_RANK).contains(&rank) {
            return Err(Error::Sona(format!(
                "what was learned does not fit hidden states of {width}: A has {} numbers",
                a.len()
            )));
        }
        let mut numbers = others.into_iter().chain([a]).flatten().chain([&self.scale]);
        if !numbers.all(|value| value.is_finite()) {
            return Err(Error::Sona(
                "what was learned holds what is no number".to_owned(),
            ));
        }
        Ok(())
    }

    /// As requests take it.
    pub fn adapter(&self, width: usize) -> Result<HeadAdapter> {
        HeadAdapter::new(width, self.scale, self.a.clone(), self.b.clone())
    }
}
