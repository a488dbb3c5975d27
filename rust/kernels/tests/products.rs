//! What a product adds beside its sums, and the buffers that its rows are kept in.
#![allow(clippy::unwrap_used)]

mod support;

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{
    Activation, Activations, Arena, Epilogue, FloatRows, PackedMatrix, Product, QuantizedRows,
    ThreadPool, WeightSource, WordRows, available, best, multiply,
};
use support::{Numbers, weights};

const COLUMNS: usize = 256;

fn matrix(block_type: BlockType, rows: usize, seed: u64) -> PackedMatrix {
    let source = WeightSource {
        block_type,
        bytes: &weights(block_type, rows, COLUMNS, &mut Numbers(seed)),
        rows,
        columns: COLUMNS,
        row_order: None,
    };
    PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default()).unwrap()
}

fn product<'a>(matrices: &'a [PackedMatrix], inputs: &'a [f32]) -> Product<'a> {
    Product {
        matrices,
        activations: Activations::Float(FloatRows {
            values: inputs,
            columns: COLUMNS,
        }),
        epilogue: Epilogue::Replace,
        deltas: &[],
        bias: None,
        ahead: &[],
        meanwhile: &[],
    }
}

/// Several matrices, many chunks and rows of several passes: each result has its own number of the bias, once, after
/// all else that there was.
#[test]
fn a_bias_is_added_once_to_each_result() {
    let matrices = [
        matrix(BlockType::Q8_0, 300, 1),
        matrix(BlockType::Q4_0, 33, 2),
    ];
    let tokens = 700;
    let inputs = Numbers(3).row(tokens * COLUMNS);
    let bias = Numbers(4).row(333);
    for kernels in available() {
        for epilogue in [Epilogue::Replace, Epilogue::Add] {
            let with = |bias| {
                let mut output = Numbers(5).row(tokens * 333);
                let product = Product {
                    epilogue,
                    bias,
                    ..product(&matrices, &inputs)
                };
                multiply(&*kernels, &ThreadPool::new(3), &product, &mut output);
                output
            };
            let mut expected = with(None);
            for row in expected.chunks_exact_mut(333) {
                row.iter_mut()
                    .zip(&bias)
                    .for_each(|(value, bias)| *value += bias);
            }
            assert!(
                with(Some(&bias)) == expected,
                "{} {epilogue:?}",
                kernels.name()
            );
        }
    }
}

#[test]
#[should_panic(expected = "a bias for each result")]
fn a_bias_of_another_length() {
    let (matrices, inputs) = ([matrix(BlockType::Q8_0, 16, 1)], vec![0.0; COLUMNS]);
    let product = Product {
        bias: Some(&[0.0; 15]),
        ..product(&matrices, &inputs)
    };
    multiply(&*best(), &ThreadPool::new(1), &product, &mut [0.0; 16]);
}

#[test]
#[should_panic(expected = "nothing is added to what is gated")]
fn a_bias_of_what_is_gated() {
    let matrices = [
        matrix(BlockType::Q8_0, 16, 1),
        matrix(BlockType::Q8_0, 16, 2),
    ];
    let inputs = vec![0.0; COLUMNS];
    let epilogue = Epilogue::Gate(Activation::Silu);
    let product = Product {
        epilogue,
        bias: Some(&[0.0; 16]),
        ..product(&matrices, &inputs)
    };
    multiply(&*best(), &ThreadPool::new(1), &product, &mut [0.0; 16]);
}

/// Rows of several widths and numbers take turns in one buffer.
#[test]
fn a_buffer_that_was_larger_is_as_good_as_a_new_one() {
    let kernels = best();
    let quantized = |rows: &mut QuantizedRows, (tokens, columns): (usize, usize)| {
        let inputs = Numbers((tokens * columns) as u64).row(tokens * columns);
        rows.reset(tokens, columns);
        for (input, mut row) in inputs.chunks_exact(columns).zip(rows.rows_mut()) {
            kernels.quantize(input, &mut row);
        }
        let seen = rows.rows_mut().map(|row| {
            let sums = (row.block_sums.to_vec(), row.half_sums.to_vec());
            (
                row.quants.to_vec(),
                row.scales.to_vec(),
                sums,
                row.half_debts.to_vec(),
            )
        });
        seen.collect::<Vec<_>>()
    };
    let words = |rows: &mut WordRows, (tokens, columns): (usize, usize)| {
        let inputs = Numbers((tokens * columns) as u64).row(tokens * columns);
        rows.reset(tokens, columns);
        let mut seen = Vec::new();
        for (input, mut row) in inputs
            .chunks_exact(columns)
            .zip(rows.chunks_mut(2).flatten())
        {
            kernels.quantize_words(input, &mut row);
            seen.push((row.words.to_vec(), row.scales.to_vec()));
        }
        assert_eq!(rows.chunks_mut(1).count(), tokens);
        seen
    };
    let (mut bytes, mut others) = (QuantizedRows::default(), WordRows::default());
    for shape in [(9, 512), (2, 64), (5, 256), (0, 256), (1, 32), (10, 512)] {
        let (found, expected) = (
            quantized(&mut bytes, shape),
            quantized(&mut QuantizedRows::default(), shape),
        );
        assert!(found.len() == shape.0 && found == expected, "{shape:?}");
        let (found, expected) = (
            words(&mut others, shape),
            words(&mut WordRows::default(), shape),
        );
        assert!(
            found.len() == shape.0 && found == expected,
            "words {shape:?}"
        );
    }
}
