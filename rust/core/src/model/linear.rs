//! A linear map of the decoder: packed weights, side by side where they share their input.

use ruvllm_kernels::{
    Activations, Epilogue, FloatRows, PackedMatrix, Product, QuantizedRows, ReadAhead,
    RowPrecision, WordRows, multiply,
};

use crate::error::{Error, Result, whole_rows};
use crate::profile::Operation;

use super::compute::{Compute, ROWS_PER_TASK};
use super::norm::Norm;

/// The rows that go into a linear map.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// As they are.
    Rows(&'a [f32]),
    /// After an RMSNorm, which is computed on the way.
    Normed(&'a [f32], Norm<'a>),
}

/// Buffers for the input of a linear map, in the precision that it takes.
#[derive(Debug, Default)]
pub(super) struct InputBuffers {
    normed: Vec<f32>,
    quantized: QuantizedRows,
    words: WordRows,
}

/// Matrices that share an input; their outputs stand side by side, or one gates the other.
#[derive(Debug)]
pub struct Linear {
    matrices: Vec<PackedMatrix>,
    bias: Option<Vec<f32>>,
    /// Where each thread begins to read.
    beginnings: Vec<ReadAhead>,
}

/// A linear map whose turn it is, and where the threads go on reading after it.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    linear: &'a Linear,
    ahead: &'a [ReadAhead],
}

impl Linear {
    /// Joins matrices of one input width, to be read by so many threads; `bias` is as wide as all their
    /// outputs.
    pub fn new(matrices: Vec<PackedMatrix>, bias: Option<Vec<f32>>, threads: usize) -> Self {
        Self {
            beginnings: ReadAhead::for_threads(&matrices, threads),
            matrices,
            bias,
        }
    }

    /// A gate over what it gates, which are read together, tile by tile.
    pub(super) fn gated(matrices: Vec<PackedMatrix>, threads: usize) -> Self {
        Self {
            beginnings: ReadAhead::for_threads(&matrices[..1], threads),
            matrices,
            bias: None,
        }
    }

    /// Its turn, after which comes `next`.
    pub(super) fn before<'a>(&'a self, next: &'a Self) -> Turn<'a> {
        Turn {
            linear: self,
            ahead: &next.beginnings,
        }
    }

    /// Its turn, after which none is known to come.
    pub(super) fn alone(&self) -> Turn<'_> {
        Turn {
            linear: self,
            ahead: &[],
        }
    }

    /// Width of the output where the matrices stand side by side.
    pub(super) fn width(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::rows).sum()
    }

    /// The packed matrices.
    pub fn matrices(&self) -> &[PackedMatrix] {
        &self.matrices
    }

    /// Every row of `rows` times the matrices; an error where they are no rows of theirs.
    pub fn multiply(&self, compute: Compute<'_>, rows: &[f32]) -> Result<Vec<f32>> {
        let columns = self.matrices.first().map_or(0, PackedMatrix::columns);
        whole_rows("x", rows.len(), columns)?;
        let (tokens, width) = (rows.len() / columns, self.width());
        let elements = tokens.checked_mul(width);
        let mut output = Vec::new();
        let room = elements.map(|elements| output.try_reserve_exact(elements));
        let (Some(elements), Some(Ok(()))) = (elements, room) else {
            return Err(Error::OutOfMemory(format!(
                "no memory for {tokens} rows of {width} results"
            )));
        };
        output.resize(elements, 0.0);
        let (source, mut buffers) = (Source::Rows(rows), InputBuffers::default());
        let turn = self.alone();
        turn.apply(
            compute,
            source,
            &mut buffers,
            Epilogue::Replace,
            &mut output,
        );
        Ok(output)
    }
}

impl Turn<'_> {
    /// `output = weights * source + bias`, then what `epilogue` says; `output` has its size.
    pub(super) fn apply(
        self,
        compute: Compute<'_>,
        source: Source<'_>,
        buffers: &mut InputBuffers,
        epilogue: Epilogue,
        output: &mut [f32],
    ) {
        let Linear { matrices, bias, .. } = self.linear;
        let columns = matrices[0].columns();
        let activations = match (compute.row_precision(matrices), source) {
            (RowPrecision::Bytes, _) => {
                compute.timed(Operation::Quantize, || {
                    quantize_rows(compute, source, columns, &mut buffers.quantized);
                });
                Activations::Quantized(&buffers.quantized)
            }
            (RowPrecision::Words, _) => {
                compute.timed(Operation::Quantize, || {
                    make_words(compute, source, columns, &mut buffers.words);
                });
                Activations::Words(&buffers.words)
            }
            (RowPrecision::Float, Source::Rows(values)) => {
                Activations::Float(FloatRows { values, columns })
            }
            (RowPrecision::Float, Source::Normed(rows, norm)) => {
                norm.apply(compute, rows, &mut buffers.normed);
                let values = &buffers.normed;
                Activations::Float(FloatRows { values, columns })
            }
        };
        let product = Product {
            matrices,
            activations,
            epilogue,
            ahead: self.ahead,
        };
        compute.count_product(&product);
        multiply(compute.kernels, compute.pool, &product, output);
        if let Some(bias) = bias {
            for row in output.chunks_exact_mut(bias.len()) {
                compute.kernels.add(bias, row);
            }
        }
    }
}

impl<'a> Source<'a> {
    fn rows(self) -> &'a [f32] {
        let (Self::Rows(rows) | Self::Normed(rows, _)) = self;
        rows
    }

    /// Shows each of `rows` in turn, normed where the source asks for it, so that it is still in
    /// the cache when it is used.
    fn each_row(
        self,
        compute: Compute<'_>,
        (rows, columns): (&[f32], usize),
        mut use_row: impl FnMut(&[f32]),
    ) {
        let Self::Normed(_, norm) = self else {
            return rows.chunks_exact(columns).for_each(use_row);
        };
        let mut normed = vec![0.0; columns];
        for row in rows.chunks_exact(columns) {
            norm.apply_row(compute, row, &mut normed);
            use_row(&normed);
        }
    }
}

fn quantize_rows(
    compute: Compute<'_>,
    source: Source<'_>,
    columns: usize,
    quantized: &mut QuantizedRows,
) {
    let rows = source.rows();
    quantized.reset(rows.len() / columns, columns);
    let task = rows_per_task(compute, rows.len() / columns);
    let work = rows.chunks(task * columns).zip(quantized.chunks_mut(task));
    compute.pool.for_each(work.collect(), 1, |(rows, targets)| {
        let mut targets = targets.into_rows();
        source.each_row(compute, (rows, columns), |row| {
            if let Some(mut target) = targets.next() {
                compute.kernels.quantize(row, &mut target);
            }
        });
    });
}

fn make_words(compute: Compute<'_>, source: Source<'_>, columns: usize, words: &mut WordRows) {
    let rows = source.rows();
    words.reset(rows.len() / columns, columns);
    let task = rows_per_task(compute, rows.len() / columns);
    let work = rows.chunks(task * columns).zip(words.chunks_mut(task));
    compute.pool.for_each(work.collect(), 1, |(rows, targets)| {
        let mut targets = targets.into_iter();
        source.each_row(compute, (rows, columns), |row| {
            if let Some(mut target) = targets.next() {
                compute.kernels.quantize_words(row, &mut target);
            }
        });
    });
}

/// Rows below which asking another thread takes longer than norming and quantizing them.
const FEWEST_ROWS: usize = 4;

/// Rows that one thread norms and quantizes at a time.
fn rows_per_task(compute: Compute<'_>, rows: usize) -> usize {
    let fair = rows.div_ceil(compute.pool.threads());
    fair.clamp(FEWEST_ROWS, ROWS_PER_TASK)
}
