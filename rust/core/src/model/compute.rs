//! What every operation of a forward pass is handed: arithmetic, threads, and the watch.

use ruvllm_kernels::{
    Activations, Kernels, Operands, PackedMatrix, Product, RowPrecision, ThreadPool,
};

use crate::profile::{Operation, Profile, timed};

/// Rows that one thread takes at a time where the work of a row is small.
pub(crate) const ROWS_PER_TASK: usize = 16;

/// In which precision activations meet the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActivationPrecision {
    /// 8 bits where the weights are quantized; 14 where they are 16-bit floats and the machine has
    /// fast products of words; else f32.
    #[default]
    Auto,
    /// f32 everywhere: exact and slower.
    Float,
}

/// What every operation of a forward pass needs.
#[derive(Debug, Clone, Copy)]
pub struct Compute<'a> {
    /// The arithmetic.
    pub kernels: &'a dyn Kernels,
    /// The threads.
    pub pool: &'a ThreadPool,
    /// In which precision activations meet the weights.
    pub precision: ActivationPrecision,
    /// Where the time goes, when someone wants to know.
    pub profile: Option<&'a Profile>,
}

impl Compute<'_> {
    /// Does `work` as a part of the step that has a name.
    #[inline]
    pub(crate) fn timed<T>(&self, operation: Operation, work: impl FnOnce() -> T) -> T {
        timed(self.profile, operation, work)
    }

    /// The precision of rows that meet these matrices.
    pub(crate) fn row_precision(&self, matrices: &[PackedMatrix]) -> RowPrecision {
        match self.precision {
            ActivationPrecision::Auto => RowPrecision::fastest(self.kernels, matrices),
            ActivationPrecision::Float => RowPrecision::Float,
        }
    }

    /// Counts a product for the operation that is under way.
    pub(super) fn count_product(&self, product: &Product<'_>) {
        let Some(profile) = self.profile else { return };
        let (operands, tokens) = match product.activations {
            Activations::Float(rows) => (Operands::Floats, rows.values.len() / rows.columns.max(1)),
            Activations::Quantized(rows) => (Operands::Bytes, rows.tokens()),
            Activations::Words(rows) => (Operands::Words, rows.tokens()),
        };
        for matrix in product.matrices {
            let operations = 2 * (tokens * matrix.rows() * matrix.columns()) as u64;
            profile.count_product(operands, operations, matrix.bytes() as u64);
        }
    }
}
