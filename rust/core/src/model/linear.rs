//! A linear map of the decoder: packed weights, side by side where they share their input.

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{
    Activations, Arena, Epilogue, FloatRows, PackedMatrix, Product, QuantizedRows, ReadAhead,
    RowPrecision, ThreadPool, WeightSource, WordRows, multiply,
};

use crate::error::{Error, Result, whole_rows};
use crate::profile::Operation;

use super::adapted::Adapted;
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

/// The rows that go into a linear map, and what adapters add for them.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) source: Source<'a>,
    pub(super) adapted: Adapted<'a>,
}

/// Buffers for the input of a linear map, in the precision that it takes.
#[derive(Debug, Default)]
pub(crate) struct InputBuffers {
    normed: Vec<f32>,
    quantized: QuantizedRows,
    words: WordRows,
    /// What adapters make of each row.
    reduced: Vec<f32>,
}

impl InputBuffers {
    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        let floats = self.normed.capacity() + self.reduced.capacity();
        4 * floats + self.quantized.bytes() + self.words.bytes()
    }
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

    /// Packs one matrix `[rows, columns]` of whole blocks, to be read by these threads.
    pub fn pack(
        block_type: BlockType,
        bytes: &[u8],
        (rows, columns): (usize, usize),
        threads: &ThreadPool,
    ) -> Result<Self> {
        let source = WeightSource {
            block_type,
            bytes,
            rows,
            columns,
            row_order: None,
        };
        let matrix = PackedMatrix::pack(&source, threads, &Arena::default());
        let matrix = matrix.map_err(|error| Error::Config(error.to_string()))?;
        Ok(Self::new(vec![matrix], None, threads.threads()))
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
    pub(crate) fn width(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::rows).sum()
    }

    /// What is added to the outputs.
    pub(super) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
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
        self.apply(compute, rows, &mut InputBuffers::default(), &mut output);
        Ok(output)
    }

    /// `output = weights * rows + bias`, the matrices' results side by side, where nothing is added and nothing else follows.
    pub(crate) fn apply(
        &self,
        compute: Compute<'_>,
        rows: &[f32],
        buffers: &mut InputBuffers,
        output: &mut [f32],
    ) {
        let input = Input {
            source: Source::Rows(rows),
            adapted: Adapted::NONE,
        };
        self.alone()
            .apply(compute, input, buffers, Epilogue::Replace, output);
    }
}

impl Turn<'_> {
    /// `output = weights * input + bias`, with what adapters add, then what `epilogue` says; `output` has its
    /// size.
    pub(super) fn apply(
        self,
        compute: Compute<'_>,
        input: Input<'_>,
        buffers: &mut InputBuffers,
        epilogue: Epilogue,
        output: &mut [f32],
    ) {
        let Linear { matrices, bias, .. } = self.linear;
        let columns = matrices[0].columns();
        let InputBuffers {
            normed,
            quantized,
            words,
            reduced,
        } = buffers;
        let Input { source, adapted } = input;
        let stride = adapted.stride();
        reduced.resize(source.rows().len() / columns * stride.max(1), 0.0);
        let rows = Rows {
            input,
            columns,
            stride,
        };
        let activations = match (compute.row_precision(matrices), source) {
            (RowPrecision::Bytes, _) => {
                compute.timed(Operation::Quantize, || {
                    quantize_rows(compute, rows, quantized, reduced);
                });
                Activations::Quantized(quantized)
            }
            (RowPrecision::Words, _) => {
                compute.timed(Operation::Quantize, || {
                    make_words(compute, rows, words, reduced);
                });
                Activations::Words(words)
            }
            (RowPrecision::Float, Source::Rows(values)) => {
                reduce_rows(compute, rows, reduced);
                Activations::Float(FloatRows { values, columns })
            }
            (RowPrecision::Float, Source::Normed(values, norm)) => {
                norm.apply(compute, values, normed);
                let source = Source::Rows(normed);
                let input = Input { source, adapted };
                reduce_rows(compute, Rows { input, ..rows }, reduced);
                let values = normed;
                Activations::Float(FloatRows { values, columns })
            }
        };
        let deltas = adapted.deltas(reduced, stride);
        let product = Product {
            matrices,
            activations,
            epilogue,
            deltas: &deltas,
            bias: bias.as_deref(),
            ahead: self.ahead,
            meanwhile: &adapted.read_next(),
        };
        compute.count_product(&product);
        multiply(compute.kernels, compute.pool, &product, output);
    }
}

/// The rows of a linear map, and what is kept of each for adapters.
#[derive(Clone, Copy)]
struct Rows<'a> {
    input: Input<'a>,
    columns: usize,
    /// Numbers of each row in what adapters make of it.
    stride: usize,
}

/// Some of them, in one thread.
struct SomeRows<'a> {
    first: usize,
    values: &'a [f32],
    reduced: &'a mut [f32],
}

impl<'a> Rows<'a> {
    fn len(self) -> usize {
        self.input.source.rows().len() / self.columns
    }

    /// Groups of `task` rows, one behind the other.
    fn groups(self, task: usize, reduced: &'a mut [f32]) -> impl Iterator<Item = SomeRows<'a>> {
        let values = self.input.source.rows().chunks(task * self.columns);
        let reduced = reduced.chunks_mut(task * self.stride.max(1));
        let groups = values.zip(reduced).enumerate();
        groups.map(move |(index, (values, reduced))| SomeRows {
            first: index * task,
            values,
            reduced,
        })
    }

    /// Shows each row of a group in turn, normed where the source asks for it, so that it is still in the
    /// cache when it is used; what adapters need of it is taken, of several rows at once where they share one.
    fn each(self, compute: Compute<'_>, some: SomeRows<'_>, mut use_row: impl FnMut(&[f32])) {
        let Input { source, adapted } = self.input;
        let (columns, stride) = (self.columns, self.stride);
        let SomeRows {
            first,
            values: rows_of_task,
            reduced,
        } = some;
        let mut normed = Vec::new();
        let count = rows_of_task.len() / columns;
        let mut row = 0;
        while row < count {
            let most = ROWS_AT_HAND.min(count - row);
            let (rows, uses) = adapted.together(first + row, most);
            let mut values = &rows_of_task[row * columns..(row + rows) * columns];
            if let Source::Normed(_, norm) = source {
                normed.resize(values.len(), 0.0);
                let targets = normed.chunks_exact_mut(columns);
                for (row, target) in values.chunks_exact(columns).zip(targets) {
                    norm.apply_row(compute, row, target);
                }
                values = &normed;
            }
            if !uses.is_empty() && stride > 0 {
                let reduced = &mut reduced[row * stride..(row + rows) * stride];
                let x = FloatRows { values, columns };
                adapted.reduce(compute.kernels, uses, x, (reduced, stride));
            }
            values.chunks_exact(columns).for_each(&mut use_row);
            row += rows;
        }
    }
}

impl<'a> Source<'a> {
    fn rows(self) -> &'a [f32] {
        let (Self::Rows(rows) | Self::Normed(rows, _)) = self;
        rows
    }
}

fn quantize_rows(
    compute: Compute<'_>,
    rows: Rows<'_>,
    quantized: &mut QuantizedRows,
    reduced: &mut [f32],
) {
    quantized.reset(rows.len(), rows.columns);
    let task = rows_per_task(compute, rows.len());
    let work = rows.groups(task, reduced).zip(quantized.chunks_mut(task));
    compute.pool.for_each(work.collect(), 1, |(some, targets)| {
        let mut targets = targets.into_rows();
        rows.each(compute, some, |row| {
            if let Some(mut target) = targets.next() {
                compute.kernels.quantize(row, &mut target);
            }
        });
    });
}

fn make_words(compute: Compute<'_>, rows: Rows<'_>, words: &mut WordRows, reduced: &mut [f32]) {
    words.reset(rows.len(), rows.columns);
    let task = rows_per_task(compute, rows.len());
    let work = rows.groups(task, reduced).zip(words.chunks_mut(task));
    compute.pool.for_each(work.collect(), 1, |(some, targets)| {
        let mut targets = targets.into_iter();
        rows.each(compute, some, |row| {
            if let Some(mut target) = targets.next() {
                compute.kernels.quantize_words(row, &mut target);
            }
        });
    });
}

/// What adapters make of rows that go into the product as they are.
fn reduce_rows(compute: Compute<'_>, rows: Rows<'_>, reduced: &mut [f32]) {
    if rows.input.adapted.is_empty() {
        return;
    }
    let work = rows.groups(rows_per_task(compute, rows.len()), reduced);
    compute
        .pool
        .for_each(work.collect(), 1, |some| rows.each(compute, some, |_| {}));
}

/// Rows that are normed before they are used, where an adapter takes them together.
const ROWS_AT_HAND: usize = 4;

/// Rows below which asking another thread takes longer than norming and quantizing them.
const FEWEST_ROWS: usize = 4;

/// Rows that one thread norms and quantizes at a time.
fn rows_per_task(compute: Compute<'_>, rows: usize) -> usize {
    let fair = rows.div_ceil(compute.pool.threads());
    fair.clamp(FEWEST_ROWS, ROWS_PER_TASK)
}
