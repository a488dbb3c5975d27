//! What is multiplied with what, and what becomes of it: the words in which a product is asked for.

use super::output::OutputTile;
use super::rows::{FloatRows, QuantizedRows, TileRange};
use super::words::WordRows;
use crate::Activation;
use crate::lora::RowDelta;
use crate::read_ahead::ReadAhead;
use crate::weights::PackedMatrix;

/// Up to so many tokens memory is what a product waits for.
pub(super) const FEW_TOKENS: usize = 8;

/// The left side of a product, in the precision that the weights meet it.
#[derive(Debug, Clone, Copy)]
pub enum Activations<'a> {
    /// f32.
    Float(FloatRows<'a>),
    /// 8 bits; only for quantized matrices.
    Quantized(&'a QuantizedRows),
    /// 14 bits; only for matrices of 16-bit weights.
    Words(&'a WordRows),
}

impl Activations<'_> {
    pub(super) fn tokens(&self) -> usize {
        match self {
            Self::Float(rows) => rows.values.len() / rows.columns.max(1),
            Self::Quantized(rows) => rows.tokens(),
            Self::Words(rows) => rows.tokens(),
        }
    }

    pub(super) fn row_bytes(&self) -> usize {
        match self {
            Self::Float(rows) => rows.columns * 4,
            Self::Quantized(rows) => rows.columns(),
            Self::Words(rows) => rows.columns() * 2,
        }
    }
}

/// What becomes of the results of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// They replace what is in the output.
    Replace,
    /// They are added to it.
    Add,
    /// There are two matrices of one shape, and `activation(first) * second` is the output.
    Gate(Activation),
}

/// Matrices that share their activations, and what becomes of their results.
#[derive(Debug, Clone, Copy)]
pub struct Product<'a> {
    /// Their outputs stand side by side.
    pub matrices: &'a [PackedMatrix],
    /// The rows they are multiplied with.
    pub activations: Activations<'a>,
    /// What becomes of the results.
    pub epilogue: Epilogue,
    /// What adapters add to the results of some rows, before anything becomes of them.
    pub deltas: &'a [RowDelta<'a>],
    /// What is added to every row, after that.
    pub bias: Option<&'a [f32]>,
    /// What threads ask memory for when they wait, where few tokens make them wait for memory.
    pub ahead: &'a [ReadAhead],
    /// What is read soon after, in the order in which the threads come to it: asked for while the product is
    /// computed.
    pub meanwhile: &'a [ReadAhead],
}

impl Product<'_> {
    /// Width of an output row.
    pub fn width(&self) -> usize {
        match self.epilogue {
            Epilogue::Gate(_) => self.matrices.first().map_or(0, PackedMatrix::rows),
            _ => self.matrices.iter().map(PackedMatrix::rows).sum(),
        }
    }

    pub(super) fn check(&self, output: &[f32]) {
        let (tokens, width) = (self.activations.tokens(), self.width());
        assert_eq!(
            output.len(),
            tokens * width,
            "output of {tokens} tokens, {width} wide"
        );
        let outputs = self.matrices.iter().map(PackedMatrix::rows).sum();
        self.deltas
            .iter()
            .for_each(|delta| delta.check(tokens, outputs));
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), width, "a bias for each result");
        }
        if let Epilogue::Gate(_) = self.epilogue {
            assert!(self.bias.is_none(), "nothing is added to what is gated");
            let heights: Vec<_> = self.matrices.iter().map(PackedMatrix::rows).collect();
            assert!(
                matches!(heights[..], [gate, up] if gate == up),
                "a gate and what it gates, not {heights:?} rows"
            );
        }
    }
}

/// Panics unless rows of `columns` meet the matrix, and range and output lie inside.
pub(crate) fn check_product(
    matrix: &PackedMatrix,
    (tokens, columns): (usize, usize),
    range: &TileRange,
    output: &OutputTile<'_>,
) {
    assert_eq!(
        matrix.columns(),
        columns,
        "a matrix of {} inputs",
        matrix.columns()
    );
    assert!(
        range.tiles.end <= matrix.tiles() && range.tokens.end <= tokens,
        "{range:?} is outside"
    );
    assert_eq!(
        (output.rows(), output.columns()),
        (range.tokens.len(), range.rows(matrix).len()),
        "output of {range:?}"
    );
}
