//! Every operation of every instruction set of this machine against the plain program.
//!
//! `RUVLLM_REQUIRE_ISA=avx512` makes the suite fail where that set was not there to be tested.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use ruvllm_kernels::quant::{BlockType, decode};
use ruvllm_kernels::{
    Activation, Activations, Arena, Epilogue, FloatRows, Kernels, PackedMatrix, Product,
    QuantizedRows, ReadAhead, Scalar, ThreadPool, WEIGHT_BLOCK, WeightSource, WordRows, available,
    multiply, takes_words,
};
use support::{Numbers, SUM_TOLERANCE, assert_close, cases, fast, weights};

/// Exponentials by polynomial against the library's.
const FUNCTION_TOLERANCE: f32 = 3e-6;

/// Lengths around every vector width.
fn awkward_length() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..70, Just(127), Just(128), Just(129), Just(576)]
}

#[test]
fn the_required_instruction_set_was_there() {
    if let Ok(required) = std::env::var("RUVLLM_REQUIRE_ISA") {
        let names: Vec<_> = available().iter().map(|kernels| kernels.name()).collect();
        assert!(
            names.contains(&required.as_str()),
            "{required} is not among {names:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn row_operations_agree(length in awkward_length(), seed in any::<u64>(), scale in 0.01f32..30.0) {
        let mut numbers = Numbers(seed);
        let scaled: Vec<f32> = numbers.row(length).iter().map(|value| value * scale).collect();
        let other = numbers.row(length);
        for kernels in fast() {
            let (mut expected, mut actual) = (vec![0.0; length], vec![0.0; length]);
            Scalar.rms_norm(&scaled, &other, 1e-5, &mut expected);
            kernels.rms_norm(&scaled, &other, 1e-5, &mut actual);
            assert_close("rms_norm", &expected, &actual, SUM_TOLERANCE);
            for activation in [Activation::Silu, Activation::GeluTanh] {
                Scalar.gate(activation, &scaled, &other, &mut expected);
                kernels.gate(activation, &scaled, &other, &mut actual);
                assert_close("gate", &expected, &actual, FUNCTION_TOLERANCE);
            }
            let (mut expected, mut actual) = (scaled.clone(), scaled.clone());
            Scalar.soft_cap(&mut expected, 5.0);
            kernels.soft_cap(&mut actual, 5.0);
            // Its error is relative to the cap, which the first elements carry into the comparison.
            let with_cap = |values: &[f32]| [&[5.0], values].concat();
            assert_close("soft_cap", &with_cap(&expected), &with_cap(&actual), FUNCTION_TOLERANCE);
            let (mut expected, mut actual) = (scaled.clone(), scaled.clone());
            Scalar.add(&other, &mut expected);
            kernels.add(&other, &mut actual);
            assert_close("add", &expected, &actual, FUNCTION_TOLERANCE);
            let (mut expected, mut actual) = (scaled.clone(), scaled.clone());
            Scalar.add_scaled(-1.75, &other, &mut expected);
            kernels.add_scaled(-1.75, &other, &mut actual);
            assert_close("add_scaled", &expected, &actual, FUNCTION_TOLERANCE);
            // Relative to what is added up, however little of it is left.
            let products: f32 = scaled.iter().zip(&other).map(|(a, b)| (a * b).abs()).sum();
            let with_products = |dot: f32| [products, dot];
            let (expected, actual) = (Scalar.dot(&scaled, &other), kernels.dot(&scaled, &other));
            assert_close("dot", &with_products(expected), &with_products(actual), SUM_TOLERANCE);
            let (mut expected, mut actual) = (vec![0.0; length], vec![0.0; length]);
            Scalar.softmax(&scaled, &mut expected);
            kernels.softmax(&scaled, &mut actual);
            assert_close("softmax", &expected, &actual, 2e-6);
            let logs = |kernels: &dyn Kernels| {
                let (mut logs, mut shares) = (vec![0.0; length], vec![0.0; length]);
                kernels.log_softmax(&scaled, &mut logs, &mut shares);
                (logs, shares)
            };
            let (expected, actual) = (logs(&Scalar), logs(&*kernels));
            assert_close("log_softmax", &expected.0, &actual.0, FUNCTION_TOLERANCE);
            assert_close("its shares", &expected.1, &actual.1, 2e-6);
            let weights = |kernels: &dyn Kernels| {
                let mut values = [&scaled[..], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 400.0]].concat();
                values.rotate_left(length / 2);
                let mut sums = vec![0.0; values.len().div_ceil(WEIGHT_BLOCK)];
                kernels.weight_sums(&values, (scale, 1.7), &mut sums);
                sums
            };
            assert_close("weight_sums", &weights(&Scalar), &weights(&*kernels), FUNCTION_TOLERANCE);
        }
    }

    #[test]
    fn rotation_agrees(half in 1usize..40, rest in 0usize..5, heads in 1usize..4, seed in any::<u64>()) {
        let head_dim = 2 * half + rest;
        let mut numbers = Numbers(seed);
        let (input, cosines, sines) = (numbers.row(heads * head_dim), numbers.row(half), numbers.row(half));
        for kernels in fast() {
            let (mut expected, mut actual) = (input.clone(), input.clone());
            Scalar.rotate(&mut expected, head_dim, &cosines, &sines);
            kernels.rotate(&mut actual, head_dim, &cosines, &sines);
            assert_close("rotate", &expected, &actual, FUNCTION_TOLERANCE);
        }
    }

    #[test]
    fn quantized_activations_are_near_and_agree(blocks in 1usize..20, seed in any::<u64>(), scale in 0.0f32..40.0) {
        let input: Vec<f32> = Numbers(seed).row(blocks * 32).iter().map(|value| value * scale).collect();
        let quantize = |kernels: &dyn Kernels| {
            let mut rows = QuantizedRows::default();
            rows.reset(1, input.len());
            for mut row in rows.rows_mut() {
                kernels.quantize(&input, &mut row);
                for (index, value) in input.iter().enumerate() {
                    let restored = row.scales[index / 32] * f32::from(row.quants[index]);
                    assert!((restored - value).abs() <= row.scales[index / 32] * 0.501, "{restored} for {value}");
                }
                for (block, sum) in row.block_sums.iter().enumerate() {
                    let total: i32 = row.quants[block * 32..(block + 1) * 32].iter().map(|quant| i32::from(*quant)).sum();
                    assert_close("sum", &[row.scales[block] * total as f32], &[*sum], 1e-6);
                    let halves = row.half_sums[2 * block] + row.half_sums[2 * block + 1];
                    assert_close("half sums", &[*sum], &[halves], 1e-4);
                }
            }
            rows.rows_mut().map(|row| row.quants.to_vec()).collect::<Vec<_>>()
        };
        let expected = quantize(&Scalar);
        for kernels in fast() {
            prop_assert_eq!(&expected, &quantize(&*kernels), "{}", kernels.name());
        }
    }
}

struct Sample {
    matrix: Arc<PackedMatrix>,
    /// The weights as `decode` gives them.
    decoded: Vec<f32>,
    inputs: Vec<f32>,
    tokens: usize,
}

fn product(
    block_type: BlockType,
    (rows, columns, tokens): (usize, usize, usize),
    seed: u64,
) -> Sample {
    let mut numbers = Numbers(seed);
    let bytes = weights(block_type, rows, columns, &mut numbers);
    let mut decoded = vec![0.0; rows * columns];
    decode(block_type, &bytes, &mut decoded).unwrap();
    let source = WeightSource {
        block_type,
        bytes: &bytes,
        rows,
        columns,
        row_order: None,
    };
    let matrix = PackedMatrix::pack(&source, &ThreadPool::new(2), &Arena::default()).unwrap();
    Sample {
        matrix: Arc::new(matrix),
        decoded,
        inputs: numbers.row(tokens * columns),
        tokens,
    }
}

impl Sample {
    fn exact(&self) -> Vec<f32> {
        let columns = self.matrix.columns();
        let mut output = Vec::new();
        for input in self.inputs.chunks_exact(columns) {
            for weights in self.decoded.chunks_exact(columns) {
                let sum: f64 = input
                    .iter()
                    .zip(weights)
                    .map(|(x, w)| f64::from(*x) * f64::from(*w))
                    .sum();
                output.push(sum as f32);
            }
        }
        output
    }

    fn float(&self, kernels: &dyn Kernels) -> Vec<f32> {
        let rows = FloatRows {
            values: &self.inputs,
            columns: self.matrix.columns(),
        };
        self.run(kernels, Activations::Float(rows))
    }

    fn quantized(&self, kernels: &dyn Kernels) -> Vec<f32> {
        let columns = self.matrix.columns();
        let mut rows = QuantizedRows::default();
        rows.reset(self.tokens, columns);
        for (input, mut row) in self.inputs.chunks_exact(columns).zip(rows.rows_mut()) {
            kernels.quantize(input, &mut row);
        }
        self.run(kernels, Activations::Quantized(&rows))
    }

    /// As the engine multiplies this type.
    fn own(&self, kernels: &dyn Kernels) -> Vec<f32> {
        if takes_words(&self.matrix) {
            self.words(kernels)
        } else if self.matrix.block_type().is_quantized() {
            self.quantized(kernels)
        } else {
            self.float(kernels)
        }
    }

    fn words(&self, kernels: &dyn Kernels) -> Vec<f32> {
        let columns = self.matrix.columns();
        let mut rows = WordRows::default();
        rows.reset(self.tokens, columns);
        let targets = rows.chunks_mut(3).flatten();
        for (input, mut row) in self.inputs.chunks_exact(columns).zip(targets) {
            kernels.quantize_words(input, &mut row);
        }
        self.run(kernels, Activations::Words(&rows))
    }

    fn run(&self, kernels: &dyn Kernels, activations: Activations<'_>) -> Vec<f32> {
        let mut output = vec![0.0; self.tokens * self.matrix.rows()];
        multiply(
            kernels,
            &ThreadPool::new(2),
            &Product {
                matrices: std::slice::from_ref(&*self.matrix),
                activations,
                epilogue: Epilogue::Replace,
                deltas: &[],
                bias: None,
                ahead: &ReadAhead::for_threads(std::slice::from_ref(&*self.matrix), 2),
                // Whatever is asked for meanwhile, results do not know of it.
                meanwhile: &[ReadAhead::of(&self.inputs), ReadAhead::default()],
            },
            &mut output,
        );
        output
    }
}

/// Tails of rows (tiles of 16) and of tokens (12, 8, 4, 2, 1), and many blocks.
const SHAPES: [(usize, usize, usize); 4] =
    [(16, 256, 1), (17, 512, 13), (50, 256, 27), (5, 1024, 2)];

#[test]
fn products_agree_for_every_type() {
    for block_type in BlockType::ALL {
        for (index, shape) in SHAPES.into_iter().enumerate() {
            let product = product(block_type, shape, 7 + index as u64);
            let exact = product.exact();
            for kernels in available() {
                let name = format!("{} {} {shape:?}", kernels.name(), block_type.name());
                assert_close(
                    &format!("{name} float"),
                    &exact,
                    &product.float(&*kernels),
                    SUM_TOLERANCE,
                );
                if takes_words(&product.matrix) {
                    let words = product.words(&*kernels);
                    let expected = product.words(&Scalar);
                    assert_close(&format!("{name} words"), &expected, &words, SUM_TOLERANCE);
                    // Both sides are off by at most 2^-14 of the largest in a block.
                    assert_close(&format!("{name} words against f32"), &exact, &words, 2e-4);
                }
                if block_type.is_quantized() {
                    let quantized = product.quantized(&*kernels);
                    assert_close(
                        &format!("{name} 8 bits"),
                        &product.quantized(&Scalar),
                        &quantized,
                        SUM_TOLERANCE,
                    );
                    // 8-bit activations are off by half a step in 127: well under 2 % of a long sum.
                    assert_close(&format!("{name} against f32"), &exact, &quantized, 0.02);
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_batch_around_it() {
    for block_type in [
        BlockType::Q4_1,
        BlockType::Q5_0,
        BlockType::Q6K,
        BlockType::Q8_0,
        BlockType::F16,
        BlockType::Bf16,
        BlockType::F32,
    ] {
        let many = product(block_type, (40, 512, 31), 99);
        let columns = many.matrix.columns();
        for kernels in available() {
            let together = [many.own(&*kernels), many.float(&*kernels)].concat();
            for (token, expected) in together.chunks_exact(40).take(31).enumerate() {
                let inputs = many.inputs[token * columns..(token + 1) * columns].to_vec();
                let alone = Sample {
                    matrix: Arc::clone(&many.matrix),
                    decoded: vec![],
                    inputs,
                    tokens: 1,
                };
                let expected = [expected, &together[(token + 31) * 40..][..40]].concat();
                let alone = [alone.own(&*kernels), alone.float(&*kernels)].concat();
                assert_eq!(
                    expected,
                    alone,
                    "{} {} token {token}",
                    kernels.name(),
                    block_type.name()
                );
            }
        }
    }
}

/// Words of many tokens are made of some blocks at a time: fewer than those, as many, and some more; of an odd tile, too.
#[test]
fn words_of_any_number_of_blocks_agree_alone_and_together() {
    for block_type in [BlockType::F16, BlockType::Bf16] {
        for (rows, blocks, tokens) in [(16, 1, 13), (33, 8, 9), (50, 11, 26), (17, 19, 12)] {
            let many = product(block_type, (rows, 32 * blocks, tokens), 5);
            let expected = many.words(&Scalar);
            for kernels in fast() {
                let name = format!("{} {} of {blocks}", kernels.name(), block_type.name());
                let together = many.words(&*kernels);
                assert_close(&name, &expected, &together, SUM_TOLERANCE);
                let inputs = many.inputs.chunks_exact(32 * blocks);
                for (inputs, together) in inputs.zip(together.chunks_exact(rows)) {
                    let alone = Sample {
                        matrix: Arc::clone(&many.matrix),
                        decoded: vec![],
                        inputs: inputs.to_vec(),
                        tokens: 1,
                    };
                    assert_eq!(alone.words(&*kernels), together, "{name}");
                }
            }
        }
    }
}

#[test]
fn embedding_rows_are_the_decoded_ones() {
    for block_type in BlockType::ALL {
        let product = product(block_type, (21, 256, 1), 3);
        let mut row = vec![0.0; 256];
        for index in 0..21 {
            product.matrix.decode_row(index, &mut row);
            // To the bit, but for the sign of zero: where there is no minimum, 0 is added.
            let expected = &product.decoded[index * 256..(index + 1) * 256];
            assert_eq!(expected, row, "{} row {index}", block_type.name());
        }
    }
}

#[test]
fn a_row_order_moves_rows_and_is_checked() {
    let bytes: Vec<u8> = (0..4u8)
        .flat_map(|row| f32::from(row).to_le_bytes())
        .collect();
    let source = |order: &'static [u32]| WeightSource {
        block_type: BlockType::F32,
        bytes: &bytes,
        rows: 4,
        columns: 1,
        row_order: Some(order),
    };
    let (pool, arena) = (ThreadPool::new(1), Arena::default());
    let packed = PackedMatrix::pack(&source(&[2, 0, 3, 1]), &pool, &arena).unwrap();
    let mut row = [0.0];
    packed.decode_row(0, &mut row);
    assert_eq!(row, [2.0]);
    assert!(PackedMatrix::pack(&source(&[0, 1, 2, 4]), &pool, &arena).is_err());
    assert!(PackedMatrix::pack(&source(&[0, 1]), &pool, &arena).is_err());
}

#[test]
fn scales_that_are_not_finite_are_refused() {
    let mut numbers = Numbers(5);
    for block_type in BlockType::ALL
        .into_iter()
        .filter(|block_type| *block_type != BlockType::Mxfp4)
    {
        let mut bytes = weights(block_type, 16, 256, &mut numbers);
        let scale = match block_type {
            BlockType::Q2K => 80,
            BlockType::Q3K => 108,
            BlockType::Q6K => 208,
            BlockType::Tq1_0 => 52,
            BlockType::Tq2_0 => 64,
            _ => 0,
        };
        match block_type {
            BlockType::F32 => bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            BlockType::Bf16 => bytes[..2].copy_from_slice(&[0x80, 0x7f]),
            _ => bytes[scale..scale + 2].copy_from_slice(&[0x00, 0x7e]),
        }
        let source = WeightSource {
            block_type,
            bytes: &bytes,
            rows: 16,
            columns: 256,
            row_order: None,
        };
        let error = PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("not finite"),
            "{}: {error}",
            block_type.name()
        );
    }
}
