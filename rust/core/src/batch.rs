//! What one forward pass computes: the only thing that planning and model share.

use crate::ids::TokenId;

/// Rows of many sequences, to go through the layers together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// One row a token; the rows of a sequence stand together, in order of position.
    pub tokens: Vec<TokenId>,
    /// Who owns which rows.
    pub sequences: Vec<BatchSequence>,
}

/// The rows of one sequence.
#[derive(Debug, Clone)]
pub struct BatchSequence {
    /// The first of its rows.
    pub first_row: usize,
    /// How many rows.
    pub rows: usize,
    /// The position of the first row; all positions before are in the cache.
    pub first_position: usize,
    /// The blocks of positions `0..first_position + rows`.
    pub block_table: Vec<u32>,
    /// The length that decides the rotary frequencies of long-context models.
    pub rope_length: usize,
}

impl Batch {
    /// Adds consecutive tokens of one sequence.
    pub fn push(
        &mut self,
        tokens: &[TokenId],
        first_position: usize,
        block_table: Vec<u32>,
        rope_length: usize,
    ) {
        let first_row = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let rows = tokens.len();
        self.sequences.push(BatchSequence {
            first_row,
            rows,
            first_position,
            block_table,
            rope_length,
        });
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}
