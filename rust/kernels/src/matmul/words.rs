//! 16-bit weights as 14-bit integers: twice as many products an instruction as with f32.
//!
//! In a block of 32 inputs a row's weights share a power of two, chosen so that the largest has 13
//! bits and a sign. An f16 weight down to a quarter of the largest, and a bf16 weight down to a
//! hundredth, is exact; below that it is rounded to 2^-13 of the largest. Activations get 13 bits
//! and a sign with a scale a block. 32 products of such numbers fit 32 bits, so the order of
//! integer additions does not matter, and a block costs one conversion and one multiply-add.

use super::rows::grow;
use crate::weights::{BLOCK_INPUTS, Elements, PackedMatrix, TILE_ROWS};

/// The largest magnitude of a word.
pub(crate) const LARGEST_WORD: f32 = 8191.0;
/// Added to a number below 2^22 it leaves the nearest integer in the sum's last bits.
#[cfg(target_arch = "x86_64")]
pub(super) const LAST_BITS: f32 = 12_582_912.0; // 1.5 * 2^23

/// What 16-bit weights are when they meet the tokens, as a constant parameter: f16 as packed, bf16 as packed, or words.
#[cfg(target_arch = "x86_64")]
pub(super) mod source {
    pub(in crate::matmul) const F16: u8 = 0;
    pub(in crate::matmul) const BF16: u8 = 1;
    pub(in crate::matmul) const WORDS: u8 = 2;
}

/// Rows of activations in 14 bits: `value = scale * word`, a scale for every 32 inputs.
#[derive(Debug, Clone, Default)]
pub struct WordRows {
    tokens: usize,
    columns: usize,
    /// `[tokens, columns]`
    pub(crate) words: Vec<i16>,
    /// `[tokens, blocks]`
    pub(crate) scales: Vec<f32>,
}

/// One row being made.
#[derive(Debug)]
pub struct WordRowMut<'a> {
    /// `[columns]`
    pub words: &'a mut [i16],
    /// `[blocks]`
    pub scales: &'a mut [f32],
}

impl WordRows {
    /// What they take.
    pub fn bytes(&self) -> usize {
        2 * self.words.capacity() + 4 * self.scales.capacity()
    }

    /// Makes room for `tokens` rows; their content is undefined until each was written.
    ///
    /// # Panics
    ///
    /// Where `columns` is not a multiple of 32.
    pub fn reset(&mut self, tokens: usize, columns: usize) {
        assert!(
            columns.is_multiple_of(BLOCK_INPUTS),
            "{columns} columns are not whole blocks"
        );
        self.tokens = tokens;
        self.columns = columns;
        grow(&mut self.words, tokens * columns);
        grow(&mut self.scales, tokens * columns / BLOCK_INPUTS);
    }

    /// How many rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Values of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.columns / BLOCK_INPUTS
    }

    /// Groups of `tokens` rows, to write: what one thread takes at a time.
    pub fn chunks_mut(&mut self, tokens: usize) -> impl Iterator<Item = Vec<WordRowMut<'_>>> {
        let columns = self.columns.max(1);
        let blocks = (columns / BLOCK_INPUTS).max(1);
        let all = self.tokens * self.columns;
        self.words[..all]
            .chunks_mut(tokens * columns)
            .zip(self.scales[..all / BLOCK_INPUTS].chunks_mut(tokens * blocks))
            .map(move |(words, scales)| {
                words
                    .chunks_exact_mut(columns)
                    .zip(scales.chunks_exact_mut(blocks))
                    .map(|(words, scales)| WordRowMut { words, scales })
                    .collect()
            })
    }
}

/// Whether a matrix has 16-bit weights in whole blocks.
pub fn takes_words(matrix: &PackedMatrix) -> bool {
    matches!(matrix.elements(), Elements::Half | Elements::Bfloat)
        && matrix.columns().is_multiple_of(BLOCK_INPUTS)
}

/// The power of two that a word is worth, and the one that makes words of weights.
pub(crate) fn word_scales(worth: u8) -> (f32, f32) {
    let power = |exponent: u8| f32::from_bits(u32::from(exponent) << 23);
    (power(worth), power(254 - worth))
}

/// The words of one row of a block.
pub(crate) fn weight_words(
    elements: Elements,
    bits: [u16; BLOCK_INPUTS],
    scale: f32,
) -> [i16; BLOCK_INPUTS] {
    bits.map(|bits| {
        let value = match elements {
            Elements::Half => half::f16::from_bits(bits).to_f32(),
            _ => half::bf16::from_bits(bits).to_f32(),
        };
        (value * scale).round_ties_even() as i16
    })
}

/// The bits of one row of a block of a dense 16-bit tile.
pub(crate) fn block_bits(values: &[u8], block: usize, lane: usize) -> [u16; BLOCK_INPUTS] {
    std::array::from_fn(|input| {
        let place = ((block * BLOCK_INPUTS + input) * TILE_ROWS + lane) * 2;
        u16::from_le_bytes([values[place], values[place + 1]])
    })
}
