//! A linear map of the decoder: packed weights, side by side where they share their input.

use ruvllm_kernels::{
    Activations, Epilogue, FloatRows, Kernels, PackedMatrix, Product, QuantizedRows, ThreadPool,
    multiply, takes_quantized,
};

use super::norm::Norm;

/// In which precision activations meet the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActivationPrecision {
    /// 8 bits where the weights are quantized, f32 where they are not.
    #[default]
    Auto,
    /// f32 everywhere: exact and slower.
    Float,
}

/// What every operation of a forward pass needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compute<'a> {
    /// The arithmetic.
    pub kernels: &'a dyn Kernels,
    /// The threads.
    pub pool: &'a ThreadPool,
}

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
}

/// Matrices that share an input; their outputs stand side by side, or one gates the other.
#[derive(Debug)]
pub(super) struct Linear {
    matrices: Vec<PackedMatrix>,
    bias: Option<Vec<f32>>,
    quantized_input: bool,
}

impl Linear {
    /// Joins matrices of one input width; `bias` is as wide as all their outputs.
    pub(super) fn new(
        matrices: Vec<PackedMatrix>,
        bias: Option<Vec<f32>>,
        precision: ActivationPrecision,
    ) -> Self {
        let quantized_input =
            precision == ActivationPrecision::Auto && matrices.iter().all(takes_quantized);
        Self {
            matrices,
            bias,
            quantized_input,
        }
    }

    /// Width of the output where the matrices stand side by side.
    pub(super) fn width(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::rows).sum()
    }

    /// The packed matrices.
    pub(super) fn matrices(&self) -> &[PackedMatrix] {
        &self.matrices
    }

    /// `output = weights * source + bias`, then what `epilogue` says; `output` has its size.
    pub(super) fn apply(
        &self,
        compute: Compute<'_>,
        source: Source<'_>,
        buffers: &mut InputBuffers,
        epilogue: Epilogue,
        output: &mut [f32],
    ) {
        let columns = self.matrices[0].columns();
        let activations = if self.quantized_input {
            quantize_rows(compute, source, columns, &mut buffers.quantized);
            Activations::Quantized(&buffers.quantized)
        } else {
            let values = match source {
                Source::Rows(rows) => rows,
                Source::Normed(rows, norm) => {
                    norm.apply(compute, rows, &mut buffers.normed);
                    &buffers.normed
                }
            };
            Activations::Float(FloatRows { values, columns })
        };
        let product = Product {
            matrices: &self.matrices,
            activations,
            epilogue,
        };
        multiply(compute.kernels, compute.pool, &product, output);
        if let Some(bias) = &self.bias {
            for row in output.chunks_exact_mut(bias.len()) {
                compute.kernels.add(bias, row);
            }
        }
    }
}

/// Norms (where the source asks for it) and quantizes row by row, so that a row stays in the cache.
fn quantize_rows(
    compute: Compute<'_>,
    source: Source<'_>,
    columns: usize,
    quantized: &mut QuantizedRows,
) {
    let (Source::Rows(rows) | Source::Normed(rows, _)) = source;
    quantized.reset(rows.len() / columns, columns);
    let work = rows
        .chunks(ROWS_PER_TASK * columns)
        .zip(quantized.chunks_mut(ROWS_PER_TASK));
    compute.pool.for_each(work.collect(), 1, |(rows, targets)| {
        let mut normed = vec![0.0; columns];
        for (row, mut target) in rows.chunks_exact(columns).zip(targets.into_rows()) {
            let row = match source {
                Source::Rows(_) => row,
                Source::Normed(_, norm) => {
                    norm.apply_row(compute, row, &mut normed);
                    &normed
                }
            };
            compute.kernels.quantize(row, &mut target);
        }
    });
}

/// Rows that one thread takes at a time where the work of a row is small.
pub(crate) const ROWS_PER_TASK: usize = 16;
