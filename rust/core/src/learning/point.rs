//! A state beside an answer: what it makes of the answer's probabilities, and the gradient there.

use ruvllm_kernels::Kernels;

use super::direction::leading;
use super::measure::{Added, LogProbs, Measure};
use super::state::HeadState;

/// How large a direction of the states is taken to be at least, beside their length.
const LEAST_SIZE: f32 = 0.05;

/// What products are of: the states of an answer, and the rows of the head.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub(super) kernels: &'a dyn Kernels,
    pub(super) measure: &'a Measure,
    pub(super) states: &'a [f32],
    pub(super) rows: &'a [f32],
    pub(super) width: usize,
    pub(super) places: usize,
}

/// A state, and what it makes of the answer.
#[derive(Clone)]
pub(super) struct Point {
    pub(super) state: HeadState,
    /// `scale * A h` of each place, `[places, rank]`.
    pub(super) of_states: Vec<f32>,
    /// `w B` of each row, `[rows, rank]`.
    pub(super) of_rows: Vec<f32>,
    pub(super) probs: LogProbs,
}

/// The gradient of the mean log-probability of what was said, and what it makes of states and rows.
pub(super) struct Slope {
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) of_states: Vec<f32>,
    pub(super) of_rows: Vec<f32>,
}

impl Products<'_> {
    /// Where a state that has learned nothing begins: A takes the largest directions of the states, each to
    /// about 1, and B is 0.
    pub(super) fn beginning(&self, state: &HeadState) -> HeadState {
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
            let size = (squares / self.places as f32)
                .sqrt()
                .max(length * LEAST_SIZE);
            for value in direction {
                *value *= length / size;
            }
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

    pub(super) fn of_states(&self, a: &[f32], scale: f32) -> Vec<f32> {
        scaled_products(self.kernels, self.states, a, self.width, scale)
    }

    pub(super) fn of_rows(&self, b: &[f32]) -> Vec<f32> {
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
pub(super) fn scaled_products(
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
    pub(super) fn new(products: Products<'_>, state: HeadState) -> Self {
        let of_states = products.of_states(&state.a, state.scale);
        let of_rows = products.of_rows(&state.b);
        Self::with(products, state, (of_states, of_rows))
    }

    /// The same where the products are known.
    pub(super) fn with(
        products: Products<'_>,
        state: HeadState,
        (of_states, of_rows): (Vec<f32>, Vec<f32>),
    ) -> Self {
        let mut probs = LogProbs::default();
        let added = Added {
            rank: state.a.len() / products.width,
            states: &of_states,
            rows: &of_rows,
        };
        products.measure.log_probs(added, &mut probs);
        Self {
            state,
            of_states,
            of_rows,
            probs,
        }
    }

    /// The gradient here.
    pub(super) fn slope(&self, products: Products<'_>) -> Slope {
        let (measure, rank) = (products.measure, self.state.a.len() / products.width);
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
                let pull = f32::from(u8::from(index == said)) - self.probs.pair_weights[index];
                note(row, pull * measure.slope(index, added.at(place, row)));
            }
            note(rest_row, -self.probs.rest_weights[place]);
        }
        let b = products.sums(products.rows, &of_rows, rank);
        let mut a = products.sums(products.states, &of_states, rank);
        for value in &mut a {
            *value *= self.state.scale;
        }
        Slope {
            of_states: products.of_states(&a, self.state.scale),
            of_rows: products.of_rows(&b),
            a,
            b,
        }
    }
}
