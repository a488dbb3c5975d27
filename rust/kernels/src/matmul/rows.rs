//! The activations of a matrix product: f32 rows, or the same in 8 bits with a scale a block.

use std::ops::Range;

use crate::read_ahead::ReadAhead;
use crate::weights::{BLOCK_INPUTS, PackedMatrix, TILE_ROWS};

/// Float activations `[tokens, columns]`.
#[derive(Debug, Clone, Copy)]
pub struct FloatRows<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Values of a row.
    pub columns: usize,
}

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
    /// `[tokens, blocks]`: minus the sum of the block's quants.
    pub(crate) block_debts: Vec<i32>,
    /// `[tokens, 2 * blocks]`: the same for each half block.
    pub(crate) half_debts: Vec<i32>,
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
    /// `[blocks]`: what a weight's zero point of one takes from the integer product.
    pub block_debts: &'a mut [i32],
    /// `[2 * blocks]`
    pub half_debts: &'a mut [i32],
}

impl QuantizedRowMut<'_> {
    /// Writes what products need beside the block's quants: `sums` are those of its halves.
    #[inline]
    pub(crate) fn describe_block(&mut self, block: usize, scale: f32, sums: [i32; 2]) {
        let total = sums[0] + sums[1];
        self.scales[block] = scale;
        self.block_sums[block] = scale * total as f32;
        self.block_debts[block] = -total;
        for (half, sum) in sums.into_iter().enumerate() {
            self.half_sums[2 * block + half] = scale * sum as f32;
            self.half_debts[2 * block + half] = -sum;
        }
    }
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
        grow(&mut self.quants, tokens * columns);
        grow(&mut self.scales, tokens * blocks);
        grow(&mut self.block_sums, tokens * blocks);
        grow(&mut self.half_sums, tokens * blocks * 2);
        grow(&mut self.block_debts, tokens * blocks);
        grow(&mut self.half_debts, tokens * blocks * 2);
    }

    /// What they take.
    pub fn bytes(&self) -> usize {
        let floats = [&self.scales, &self.block_sums, &self.half_sums];
        let integers = [&self.block_debts, &self.half_debts];
        let words = floats.map(Vec::capacity).iter().sum::<usize>()
            + integers.map(Vec::capacity).iter().sum::<usize>();
        4 * words + self.quants.capacity()
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
        let tokens = self.tokens.max(1);
        self.chunks_mut(tokens)
            .flat_map(QuantizedRowsMut::into_rows)
    }

    /// Groups of `tokens` rows, to write: what one thread takes at a time.
    pub fn chunks_mut(&mut self, tokens: usize) -> impl Iterator<Item = QuantizedRowsMut<'_>> {
        let columns = self.columns.max(1);
        let blocks = (self.columns / BLOCK_INPUTS).max(1);
        // The rows that were there before may have been more.
        let all = self.tokens * self.columns / BLOCK_INPUTS;
        self.quants[..self.tokens * self.columns]
            .chunks_mut(tokens * columns)
            .zip(self.scales[..all].chunks_mut(tokens * blocks))
            .zip(self.block_sums[..all].chunks_mut(tokens * blocks))
            .zip(self.half_sums[..2 * all].chunks_mut(tokens * 2 * blocks))
            .zip(self.block_debts[..all].chunks_mut(tokens * blocks))
            .zip(self.half_debts[..2 * all].chunks_mut(tokens * 2 * blocks))
            .map(
                move |(((((quants, scales), block_sums), half_sums), block_debts), half_debts)| {
                    QuantizedRowsMut {
                        columns,
                        all: QuantizedRowMut {
                            quants,
                            scales,
                            block_sums,
                            half_sums,
                            block_debts,
                            half_debts,
                        },
                    }
                },
            )
    }
}

/// Makes a buffer as long as that, or leaves it longer: one that is used for rows of several widths in turn is not
/// filled with zeros each time.
pub(super) fn grow<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
}

/// Some rows being quantized.
#[derive(Debug)]
pub struct QuantizedRowsMut<'a> {
    columns: usize,
    /// The rows, one behind the other.
    all: QuantizedRowMut<'a>,
}

impl<'a> QuantizedRowsMut<'a> {
    /// Row by row.
    pub fn into_rows(self) -> impl Iterator<Item = QuantizedRowMut<'a>> {
        let blocks = (self.columns / BLOCK_INPUTS).max(1);
        let all = self.all;
        all.quants
            .chunks_exact_mut(self.columns)
            .zip(all.scales.chunks_exact_mut(blocks))
            .zip(all.block_sums.chunks_exact_mut(blocks))
            .zip(all.half_sums.chunks_exact_mut(2 * blocks))
            .zip(all.block_debts.chunks_exact_mut(blocks))
            .zip(all.half_debts.chunks_exact_mut(2 * blocks))
            .map(
                |(((((quants, scales), block_sums), half_sums), block_debts), half_debts)| {
                    QuantizedRowMut {
                        quants,
                        scales,
                        block_sums,
                        half_sums,
                        block_debts,
                        half_debts,
                    }
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
    /// What memory is asked for meanwhile, by implementations that have the time.
    pub ahead: Vec<ReadAhead>,
}

impl TileRange {
    /// Rows of the matrix that the range covers.
    pub fn rows(&self, matrix: &PackedMatrix) -> Range<usize> {
        let first = self.tiles.start * TILE_ROWS;
        first..matrix.rows().min(self.tiles.end * TILE_ROWS)
    }
}
