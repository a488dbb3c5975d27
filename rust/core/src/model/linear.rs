//! A linear map of the decoder: packed weights, side by side where they share their input.

use ruvllm_kernels::{
    Activations, FloatRows, Kernels, PackedMatrix, QuantizedRows, ThreadPool, multiply,
    takes_quantized,
};

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

/// Matrices that share an input; their outputs stand side by side.
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

    /// Width of the output.
    pub(super) fn width(&self) -> usize {
        self.matrices.iter().map(PackedMatrix::rows).sum()
    }

    /// The packed matrices.
    pub(super) fn matrices(&self) -> &[PackedMatrix] {
        &self.matrices
    }

    /// `output = weights * input + bias`; `input` is `[tokens, columns]`, `output` is resized.
    pub(super) fn apply(
        &self,
        compute: Compute<'_>,
        input: &[f32],
        quantized: &mut QuantizedRows,
        output: &mut Vec<f32>,
    ) {
        let columns = self.matrices[0].columns();
        let tokens = input.len() / columns;
        output.resize(tokens * self.width(), 0.0);
        let activations = if self.quantized_input {
            quantize_rows(compute, input, columns, quantized);
            Activations::Quantized(quantized)
        } else {
            Activations::Float(FloatRows {
                values: input,
                columns,
            })
        };
        multiply(
            compute.kernels,
            compute.pool,
            &self.matrices,
            activations,
            output,
        );
        if let Some(bias) = &self.bias {
            for row in output.chunks_exact_mut(bias.len()) {
                compute.kernels.add(bias, row);
            }
        }
    }
}

fn quantize_rows(compute: Compute<'_>, input: &[f32], columns: usize, rows: &mut QuantizedRows) {
    let tokens = input.len() / columns;
    rows.reset(tokens, columns);
    let work = input.chunks_exact(columns).zip(rows.rows_mut());
    compute
        .pool
        .for_each(work.collect(), ROWS_PER_TASK, |(input, mut row)| {
            compute.kernels.quantize(input, &mut row);
        });
}

/// Rows that one thread takes at a time where the work of a row is small.
pub(crate) const ROWS_PER_TASK: usize = 16;
