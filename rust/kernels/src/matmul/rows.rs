//! The activations of a matrix product: f32 rows, or the same in 8 bits with a scale a block.

use std::ops::Range;

use crate::pack::BLOCK_INPUTS;

/// Rows of 8-bit activations: `value = scale * quant`, a scale for every 32 inputs.
#[derive(Debug, Clone, Default)]
pub struct QuantizedRows {
    tokens: usize,
    columns: usize,
    /// `[tokens, columns]`
    pub(crate) quants: Vec<i8>,
    /// `[tokens, blocks]`
    pub(crate) scales: Vec<f32>,
    /// `[tokens, blocks]`: scale times the sum of the block's quants.
    pub(crate) block_sums: Vec<f32>,
    /// `[tokens, 2 * blocks]`: the same for each half block.
    pub(crate) half_sums: Vec<f32>,
}

/// One row being quantized.
#[derive(Debug)]
pub struct QuantizedRowMut<'a> {
    /// `[columns]`
    pub quants: &'a mut [i8],
    /// `[blocks]`
    pub scales: &'a mut [f32],
    /// `[blocks]`
    pub block_sums: &'a mut [f32],
    /// `[2 * blocks]`
    pub half_sums: &'a mut [f32],
}

impl QuantizedRows {
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
        let blocks = columns / BLOCK_INPUTS;
        self.tokens = tokens;
        self.columns = columns;
        self.quants.resize(tokens * columns, 0);
        self.scales.resize(tokens * blocks, 0.0);
        self.block_sums.resize(tokens * blocks, 0.0);
        self.half_sums.resize(tokens * blocks * 2, 0.0);
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

    /// All rows, to write.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = QuantizedRowMut<'_>> {
        let blocks = (self.columns / BLOCK_INPUTS).max(1);
        self.quants
            .chunks_exact_mut(self.columns.max(1))
            .zip(self.scales.chunks_exact_mut(blocks))
            .zip(self.block_sums.chunks_exact_mut(blocks))
            .zip(self.half_sums.chunks_exact_mut(2 * blocks))
            .map(
                |(((quants, scales), block_sums), half_sums)| QuantizedRowMut {
                    quants,
                    scales,
                    block_sums,
                    half_sums,
                },
            )
    }
}

/// Part of a product: these tiles of a matrix times these rows.
#[derive(Debug, Clone)]
pub struct TileRange {
    /// Tiles of the matrix.
    pub tiles: Range<usize>,
    /// Rows of the activations.
    pub tokens: Range<usize>,
}

impl TileRange {
    /// Floats of the output `[tokens, 16 * tiles]`.
    pub fn output_length(&self) -> usize {
        self.tokens.len() * self.output_stride()
    }

    /// Floats between two tokens of the output.
    pub fn output_stride(&self) -> usize {
        self.tiles.len() * crate::pack::TILE_ROWS
    }
}
