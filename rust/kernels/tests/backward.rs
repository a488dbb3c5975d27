//! The way back of every operation: each instruction set against the plain program, and that against what defines it.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{
    Activation, Arena, FloatProduct, Grid, Kernels, OutputRows, OutputTile, PackedMatrix,
    RowPrecision, Scalar, ThreadPool, TransposedBuffers, TransposedProduct, WeightSource,
    add_product, add_transposed, available,
};
use support::{Numbers, SUM_TOLERANCE, assert_close, cases, fast, weights};

/// Exponentials by polynomial against the library's.
const FUNCTION_TOLERANCE: f32 = 3e-6;

/// A matrix of that type, and its weights `[rows, columns]`.
fn packed(
    block_type: BlockType,
    (rows, columns): (usize, usize),
    numbers: &mut Numbers,
) -> (PackedMatrix, Vec<f32>) {
    let bytes = weights(block_type, rows, columns, numbers);
    let source = WeightSource {
        block_type,
        bytes: &bytes,
        rows,
        columns,
        row_order: None,
    };
    let matrix = PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default()).unwrap();
    let mut weights = vec![0.0; rows * columns];
    for (row, target) in weights.chunks_exact_mut(columns).enumerate() {
        matrix.decode_row(row, target);
    }
    (matrix, weights)
}

/// `gradients += rows * weights`, by definition.
fn by_definition(weights: &[f32], columns: usize, rows: &[f32], gradients: &mut [f64]) {
    let outputs = weights.len() / columns;
    for (row, target) in rows
        .chunks_exact(outputs)
        .zip(gradients.chunks_exact_mut(columns))
    {
        for (factor, weights) in row.iter().zip(weights.chunks_exact(columns)) {
            for (target, weight) in target.iter_mut().zip(weights) {
                *target += f64::from(*factor) * f64::from(*weight);
            }
        }
    }
}

/// The gradients that a kernel gives for two matrices side by side, and those by definition.
fn gradients(
    kernels: &dyn Kernels,
    block_type: BlockType,
    (heights, columns, count): ([usize; 2], usize, usize),
    precision: RowPrecision,
) -> (Vec<f32>, Vec<f32>) {
    let mut numbers = Numbers(7);
    let pairs = heights.map(|rows| packed(block_type, (rows, columns), &mut numbers));
    let weights = [&pairs[0].1[..], &pairs[1].1[..]].concat();
    let matrices = pairs.map(|(matrix, _)| matrix);
    let rows = numbers.row(count * heights.iter().sum::<usize>());
    let mut actual = numbers.row(count * columns);
    let mut expected: Vec<f64> = actual.iter().map(|value| f64::from(*value)).collect();
    by_definition(&weights, columns, &rows, &mut expected);
    let product = TransposedProduct {
        matrices: &matrices,
        rows: &rows,
        precision,
    };
    let (pool, mut buffers) = (ThreadPool::new(2), TransposedBuffers::default());
    add_transposed(kernels, &pool, &product, &mut buffers, &mut actual);
    let expected = expected.iter().map(|value| *value as f32).collect();
    (expected, actual)
}

#[test]
fn every_type_of_weights_goes_back_on_every_instruction_set() {
    for block_type in BlockType::ALL {
        for kernels in available() {
            for count in [1, 7, 40] {
                let shape = ([96, 32], 256, count);
                let (expected, actual) =
                    gradients(&*kernels, block_type, shape, RowPrecision::Float);
                let name = format!("{block_type} on {} of {count}", kernels.name());
                assert_close(&name, &expected, &actual, SUM_TOLERANCE);
            }
        }
    }
}

/// Rows of no whole tiles, and for dense weights inputs of no whole blocks.
#[test]
fn awkward_shapes_go_back() {
    for kernels in available() {
        for (block_type, heights, columns) in [
            (BlockType::F32, [17, 5], 50),
            (BlockType::Bf16, [1, 300], 96),
            (BlockType::F16, [33, 16], 32),
            (BlockType::Q4_1, [20, 7], 64),
            (BlockType::Q6K, [3, 270], 256),
        ] {
            let shape = (heights, columns, 13);
            for precision in [RowPrecision::Float, RowPrecision::Bytes] {
                let (expected, actual) = gradients(&*kernels, block_type, shape, precision);
                let name = format!("{block_type} on {}", kernels.name());
                assert_close(&name, &expected, &actual, SUM_TOLERANCE);
            }
        }
    }
}

/// Both sides are rounded to 8 bits in blocks of 32: of sums of hundreds of products little is left of it.
#[test]
fn rounded_rows_and_weights_give_nearly_the_same() {
    let quantized = BlockType::ALL
        .into_iter()
        .filter(|kind| kind.is_quantized());
    for block_type in quantized {
        for kernels in available() {
            let shape = ([512, 256], 256, 40);
            let (expected, actual) = gradients(&*kernels, block_type, shape, RowPrecision::Bytes);
            let name = format!("{block_type} on {}", kernels.name());
            let pairs = || expected.iter().zip(&actual);
            let error: f32 = pairs().map(|(one, other)| (one - other).powi(2)).sum();
            let whole: f32 = expected.iter().map(|value| value.powi(2)).sum();
            let error = (error / whole).sqrt();
            assert!(error < 0.01, "{name}: {error}");
            assert!(error > 1e-5, "{name}: it was not rounded");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn products_of_floats_agree(
        rows in 1usize..40, columns in 1usize..80, depth in 1usize..70, seed in any::<u64>(), is_turned in any::<bool>(),
    ) {
        let mut numbers = Numbers(seed);
        let (left, right) = (numbers.row(rows * depth), numbers.row(depth * (columns + 3)));
        let started = numbers.row(rows * columns);
        let plain = if is_turned { Grid::rows(&left, rows).turned() } else { Grid::rows(&left, depth) };
        let product = FloatProduct { left: plain, right: &right, right_stride: columns + 3, depth };
        let mut expected = started.clone();
        for (row, target) in expected.chunks_exact_mut(columns).enumerate() {
            for (column, target) in target.iter_mut().enumerate() {
                let terms = (0..depth).map(|index| {
                    let left = left[if is_turned { index * rows + row } else { row * depth + index }];
                    f64::from(left) * f64::from(right[index * (columns + 3) + column])
                });
                *target += terms.sum::<f64>() as f32;
            }
        }
        for kernels in available() {
            let mut actual = started.clone();
            kernels.add_product(&product, &mut OutputTile::new(&mut actual, columns));
            assert_close(kernels.name(), &expected, &actual, SUM_TOLERANCE);
            // In pieces, into some columns of wider rows.
            let width = columns + 5;
            let mut wide = vec![9.0; rows * width];
            for (target, row) in wide.chunks_exact_mut(width).zip(started.chunks_exact(columns)) {
                target[2..2 + columns].copy_from_slice(row);
            }
            let pool = ThreadPool::new(3);
            add_product(&*kernels, &pool, &product, (&mut wide, width), 2..2 + columns);
            for (row, expected) in wide.chunks_exact(width).zip(actual.chunks_exact(columns)) {
                prop_assert_eq!(&row[2..2 + columns], expected);
                prop_assert!(row[..2].iter().chain(&row[2 + columns..]).all(|value| *value == 9.0));
            }
        }
    }

    #[test]
    fn row_operations_go_back_alike(length in 1usize..140, seed in any::<u64>(), scale in 0.01f32..10.0) {
        let mut numbers = Numbers(seed);
        let input: Vec<f32> = numbers.row(2 * length).iter().map(|value| value * scale).collect();
        let (weight, output) = (numbers.row(length), numbers.row(2 * length));
        let started = numbers.row(2 * length);
        for kernels in fast() {
            let (mut expected, mut actual) = (started.clone(), started.clone());
            Scalar.rms_norm_backward(&input, (&weight, 1e-5), &output, &mut expected);
            kernels.rms_norm_backward(&input, (&weight, 1e-5), &output, &mut actual);
            assert_close("rms_norm_backward", &expected, &actual, SUM_TOLERANCE);
            for activation in [Activation::Silu, Activation::GeluTanh] {
                let both = |kernels: &dyn Kernels| {
                    let (mut gate, mut up) = (input.clone(), started.clone());
                    kernels.gate_backward(activation, &output, (&mut gate, &mut up));
                    [gate, up].concat()
                };
                assert_close("gate_backward", &both(&Scalar), &both(&*kernels), FUNCTION_TOLERANCE);
            }
        }
    }
}

/// The slope of a function of one number, between two points that are near.
fn slope(of: impl Fn(f64) -> f64, at: f64) -> f64 {
    let step = 1e-4;
    (of(at + step) - of(at - step)) / (2.0 * step)
}

#[test]
fn gates_go_back_by_their_slopes() {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        let active = |x: f64| match activation {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x * x * x)).tanh())
            }
        };
        for x in [-20.0f32, -3.0, -0.5, 0.0, 0.7, 2.5, 15.0] {
            let (mut gate, mut up) = ([x], [1.5]);
            Scalar.gate_backward(activation, &[0.5], (&mut gate, &mut up));
            let expected = 0.5 * 1.5 * slope(active, f64::from(x));
            assert!(
                (f64::from(gate[0]) - expected).abs() < 1e-6,
                "{x}: {gate:?}"
            );
            assert!((f64::from(up[0]) - 0.5 * active(f64::from(x))).abs() < 1e-6);
        }
    }
}

#[test]
fn norms_go_back_by_their_slopes() {
    let mut numbers = Numbers(3);
    let (input, weight, output) = (numbers.row(9), numbers.row(9), numbers.row(9));
    let mut gradient = vec![0.0; 9];
    Scalar.rms_norm_backward(&input, (&weight, 1e-2), &output, &mut gradient);
    for index in 0..9 {
        let weighed = |value: f64| {
            let mut input: Vec<f64> = input.iter().map(|value| f64::from(*value)).collect();
            input[index] = value;
            let mean = input.iter().map(|value| value * value).sum::<f64>() / 9.0;
            let terms = input.iter().zip(&weight).zip(&output);
            let normed =
                |value: &f64, weight: f32| value / (mean + 1e-2).sqrt() * f64::from(weight);
            terms
                .map(|((value, weight), output)| normed(value, *weight) * f64::from(*output))
                .sum::<f64>()
        };
        let expected = slope(weighed, f64::from(input[index]));
        assert!((f64::from(gradient[index]) - expected).abs() < 1e-5);
    }
}

#[test]
#[should_panic(expected = "blocks 0..3 of 64 inputs")]
fn blocks_that_are_not_there_are_refused() {
    let (matrix, _) = packed(BlockType::F32, (16, 64), &mut Numbers(1));
    let mut output = vec![0.0; 96];
    let rows = OutputRows {
        values: &[0.0; 16],
        stride: 16,
    };
    Scalar.multiply_transposed(
        &matrix,
        rows,
        &(0..3),
        &mut OutputTile::new(&mut output, 96),
    );
}
