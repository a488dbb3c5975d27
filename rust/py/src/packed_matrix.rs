//! `PackedMatrix`: weights in the engine's own layout, and their product with rows.

use std::sync::LazyLock;

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model::ActivationPrecision;
use ruvllm_core::{Error, Result};
use ruvllm_kernels::{
    Activations, Arena, Epilogue, FloatRows, Kernels, Product, QuantizedRows, RowPrecision,
    ThreadPool, WeightSource, WordRows, multiply, thread_choice,
};

use crate::arrays::{contiguous, flat};
use crate::block_formats::named;
use crate::convert::choice;
use crate::model::PRECISIONS;
use crate::row_kernels::check_rows;
use crate::run::run;
use crate::system::choose_kernels;

/// The threads of all stand-alone kernels, made when the first asks for them.
pub(crate) static POOL: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPool::new(thread_choice(None).threads));

/// A matrix `[rows, columns]`, packed for this machine.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct PackedMatrix {
    matrix: ruvllm_kernels::PackedMatrix,
}

#[pymethods]
impl PackedMatrix {
    /// Packs whole blocks of a tensor type.
    #[new]
    fn new(
        type_name: &str,
        data: &Bound<'_, PyAny>,
        rows: usize,
        columns: usize,
    ) -> PyResult<Self> {
        let view = contiguous::<u8>("data", data)?;
        let bytes = view.as_slice()?;
        run(data.py(), || {
            let source = WeightSource {
                block_type: named(type_name)?,
                bytes,
                rows,
                columns,
                row_order: None,
            };
            let packed = ruvllm_kernels::PackedMatrix::pack(&source, &POOL, &Arena::default());
            let matrix = packed.map_err(|error| Error::Config(error.to_string()))?;
            Ok(Self { matrix })
        })
    }

    #[getter]
    fn rows(&self) -> usize {
        self.matrix.rows()
    }

    #[getter]
    fn columns(&self) -> usize {
        self.matrix.columns()
    }

    #[getter]
    fn type_name(&self) -> &str {
        self.matrix.block_type().name()
    }

    #[getter]
    fn num_bytes(&self) -> usize {
        self.matrix.bytes()
    }

    /// Every row of `x` times the matrix.
    fn multiply<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        activations: &str,
        isa: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let view = contiguous::<f32>("x", x)?;
        let input = view.as_slice()?;
        let output = run(x.py(), || {
            check_rows("x", input.len(), self.matrix.columns())?;
            let kernels = choose_kernels(isa)?;
            let precision = match choice("activations", activations, &PRECISIONS)? {
                ActivationPrecision::Float => RowPrecision::Float,
                ActivationPrecision::Auto => {
                    RowPrecision::fastest(&*kernels, std::slice::from_ref(&self.matrix))
                }
            };
            self.product(&*kernels, input, precision)
        })?;
        Ok(flat(x.py(), output))
    }
}

impl PackedMatrix {
    fn product(
        &self,
        kernels: &dyn Kernels,
        input: &[f32],
        precision: RowPrecision,
    ) -> Result<Vec<f32>> {
        let columns = self.matrix.columns();
        let tokens = input.len() / columns;
        let (mut bytes, mut words) = (QuantizedRows::default(), WordRows::default());
        let activations = match precision {
            RowPrecision::Bytes => {
                bytes.reset(tokens, columns);
                let rows = input.chunks_exact(columns).zip(bytes.rows_mut());
                rows.for_each(|(input, mut row)| kernels.quantize(input, &mut row));
                Activations::Quantized(&bytes)
            }
            RowPrecision::Words => {
                words.reset(tokens, columns);
                let targets = words.chunks_mut(tokens.max(1)).flatten();
                let rows = input.chunks_exact(columns).zip(targets);
                rows.for_each(|(input, mut row)| kernels.quantize_words(input, &mut row));
                Activations::Words(&words)
            }
            RowPrecision::Float => Activations::Float(FloatRows {
                values: input,
                columns,
            }),
        };
        let elements = tokens.checked_mul(self.matrix.rows());
        let mut output = Vec::new();
        let room = elements.map(|elements| output.try_reserve_exact(elements));
        let (Some(elements), Some(Ok(()))) = (elements, room) else {
            return Err(Error::OutOfMemory(format!(
                "no memory for {tokens} rows of {} results",
                self.matrix.rows()
            )));
        };
        output.resize(elements, 0.0);
        let product = Product {
            matrices: std::slice::from_ref(&self.matrix),
            activations,
            epilogue: Epilogue::Replace,
            ahead: &[],
        };
        multiply(kernels, &POOL, &product, &mut output);
        Ok(output)
    }
}
