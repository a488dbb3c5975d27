//! A state beside an answer: what it makes of the answer's probabilities, and the gradient there.

use ruvllm_kernels::{FloatProduct, FloatRows, Grid, Kernels, LoraNumbers, OutputTile};

use super::direction::leading;
use super::measure::{Added, Measure, Probs, Reduced};
use super::state::HeadState;
use crate::lora::MAX_RANK;

/// How large a direction of the states is taken to be at least, beside their length.
const LEAST_SIZE: f32 = 0.05;
/// Rows that are added up at once, while the sums stay in the nearest cache.
const ROWS_AT_ONCE: usize = 8;

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
#[derive(Debug)]
pub(super) struct Point {
    pub(super) state: HeadState,
    /// `scale * A h` of each place, and `w B` of each row.
    pub(super) added: Added,
    /// The logits before the cap.
    pub(super) raw: Vec<f32>,
    pub(super) probs: Probs,
}

/// The gradient of the mean log-probability of what was said, and what it makes of states and rows.
pub(super) struct Slope {
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) added: Added,
    /// How steeply each logit rises with the one before the cap.
    pub(super) of_cap: Vec<f32>,
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

    /// What matrices make of the states and of the rows.
    pub(super) fn added(&self, a: &[f32], b: &[f32], scale: f32) -> Added {
        let mut states = products(self.kernels, self.states, a, self.width);
        for number in states.as_flattened_mut() {
            *number *= scale;
        }
        let rows = products(self.kernels, self.rows, b, self.width);
        Added { states, rows }
    }

    /// The sum of rows, each times its numbers of `factors`: `[rank, width]`.
    fn sums(&self, rows: &[f32], factors: &[Reduced], rank: usize) -> Vec<f32> {
        let mut sums = vec![0.0; rank * self.width];
        let rows = rows.chunks(ROWS_AT_ONCE * self.width);
        for (rows, factors) in rows.zip(factors.chunks(ROWS_AT_ONCE)) {
            let product = FloatProduct {
                left: Grid::rows(factors.as_flattened(), MAX_RANK).turned(),
                right: rows,
                right_stride: self.width,
                depth: factors.len(),
            };
            let mut sums = OutputTile::new(&mut sums, self.width);
            self.kernels.add_product(&product, &mut sums);
        }
        sums
    }
}

/// The products of each row of `rows` with each of at most [`MAX_RANK`] `vectors`. There are more rows than fit a cache that
/// is near, so that each meets all vectors at once: to the kernel they are the matrix, and the vectors its inputs.
fn products(kernels: &dyn Kernels, rows: &[f32], vectors: &[f32], width: usize) -> Vec<Reduced> {
    let count = rows.len() / width;
    let mut by_vector = vec![0.0; vectors.len() / width * count];
    let vectors = FloatRows {
        values: vectors,
        columns: width,
    };
    kernels.lora_reduce(LoraNumbers::F32(rows), vectors, (&mut by_vector, count));
    let mut products = vec![[0.0; MAX_RANK]; count];
    for (rank, of_vector) in by_vector.chunks_exact(count).enumerate() {
        for (product, value) in products.iter_mut().zip(of_vector) {
            product[rank] = *value;
        }
    }
    products
}

impl Point {
    pub(super) fn new(products: Products<'_>, state: HeadState) -> Self {
        let added = products.added(&state.a, &state.b, state.scale);
        let raw = products.measure.raw(&added);
        let mut probs = Probs::default();
        products.measure.probs(products.kernels, &raw, &mut probs);
        Self {
            state,
            added,
            raw,
            probs,
        }
    }

    /// The gradient here.
    pub(super) fn slope(&self, products: Products<'_>) -> Slope {
        let (measure, rank) = (products.measure, self.state.a.len() / products.width);
        let part = 1.0 / products.places as f32;
        let mut pulls: Vec<f32> = self.probs.shares.iter().map(|share| -share).collect();
        for said in measure.choice.said() {
            pulls[said] += 1.0;
        }
        let of_cap = measure.slopes(products.kernels, &self.raw);
        for (pull, slope) in pulls.iter_mut().zip(&of_cap) {
            *pull *= part * slope;
        }
        let mut of_rows = vec![[0.0; MAX_RANK]; self.added.rows.len()];
        let mut of_states = vec![[0.0; MAX_RANK]; self.added.states.len()];
        measure.each(|place, row, index| {
            let (state, of_row) = (&self.added.states[place], &self.added.rows[row]);
            for rank in 0..MAX_RANK {
                of_rows[row][rank] += pulls[index] * state[rank];
                of_states[place][rank] += pulls[index] * of_row[rank];
            }
        });
        let b = products.sums(products.rows, &of_rows, rank);
        let mut a = products.sums(products.states, &of_states, rank);
        for value in &mut a {
            *value *= self.state.scale;
        }
        let added = products.added(&a, &b, self.state.scale);
        Slope {
            a,
            b,
            added,
            of_cap,
        }
    }
}
