//! The head as learning reads it: the rows of some tokens.

use ruvllm_kernels::Kernels;

use crate::ids::TokenId;
use crate::learning::HeadRows;

use super::Model;

/// Rows of which the mean row is made: evenly spread, so many at most.
const MEAN_ROWS: usize = 1024;

impl HeadRows for Model {
    fn kernels(&self) -> &dyn Kernels {
        &*self.kernels
    }

    fn rows(&self, tokens: &[TokenId], output: &mut [f32]) {
        let head = &self.weights.head().matrices()[0];
        self.kernels.decode_rows(head, tokens, output);
    }

    fn mean_row(&self) -> &[f32] {
        self.mean_head_row.get_or_init(|| {
            let vocab = self.header.spec.vocab_size;
            let step = vocab.div_ceil(MEAN_ROWS);
            let count = vocab.div_ceil(step) as f32;
            let mut row = vec![0.0; self.header.spec.hidden_size];
            let mut mean = row.clone();
            for token in (0..vocab).step_by(step) {
                self.rows(&[token as TokenId], &mut row);
                self.kernels.add_scaled(1.0 / count, &row, &mut mean);
            }
            mean
        })
    }

    fn soft_cap(&self) -> Option<f32> {
        self.header.spec.final_soft_cap
    }
}
