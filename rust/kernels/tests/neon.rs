//! What the NEON kernels promise each other beside agreeing with the plain program: the same bits,
//! whichever instructions multiply the bytes, and no overflow at the ends of every format's range.
#![cfg(target_arch = "aarch64")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{
    Activations, Arena, Epilogue, Kernels, PackedMatrix, Product, QuantizedRows, Scalar,
    ThreadPool, WeightSource, available, multiply,
};

const COLUMNS: usize = 512;
/// Two tiles, the second one not full.
const ROWS: usize = 23;

fn quantized_types() -> impl Iterator<Item = BlockType> {
    BlockType::ALL
        .into_iter()
        .filter(|kind| kind.is_quantized())
}

fn neon() -> Vec<Arc<dyn Kernels>> {
    let names = ["neon", "neon-dotprod", "neon-i8mm"];
    let mut kernels = available();
    kernels.retain(|kernels| names.contains(&kernels.name()));
    assert!(!kernels.is_empty(), "NEON is the baseline of the target");
    kernels
}

fn pack(block_type: BlockType, byte: impl FnMut(usize) -> u8) -> PackedMatrix {
    let length = ROWS * COLUMNS / block_type.block_elements() * block_type.block_bytes();
    let bytes: Vec<u8> = (0..length).map(byte).collect();
    let source = WeightSource {
        block_type,
        bytes: &bytes,
        rows: ROWS,
        columns: COLUMNS,
        row_order: None,
    };
    PackedMatrix::pack(&source, &ThreadPool::new(1), &Arena::default()).unwrap()
}

fn times(kernels: &dyn Kernels, matrix: &PackedMatrix, inputs: &[f32]) -> Vec<f32> {
    let tokens = inputs.len() / COLUMNS;
    let mut rows = QuantizedRows::default();
    rows.reset(tokens, COLUMNS);
    for (input, mut row) in inputs.chunks_exact(COLUMNS).zip(rows.rows_mut()) {
        // The same 8 bits for every kernel.
        Scalar.quantize(input, &mut row);
    }
    let product = Product {
        matrices: std::slice::from_ref(matrix),
        activations: Activations::Quantized(&rows),
        epilogue: Epilogue::Replace,
        deltas: &[],
        bias: None,
        ahead: &[],
        meanwhile: &[],
    };
    let mut output = vec![0.0; tokens * ROWS];
    multiply(kernels, &ThreadPool::new(1), &product, &mut output);
    output
}

#[test]
fn all_kernels_give_the_same_bits_for_any_number_of_tokens() {
    let inputs: Vec<f32> = (0..21 * COLUMNS)
        .map(|index| ((index * 7919 % 1009) as f32 / 504.0 - 1.0) * 3.0)
        .collect();
    for block_type in quantized_types() {
        // Without bit 6 of a byte no f16 scale is infinite.
        let matrix = pack(block_type, |index| (index * 151 % 256) as u8 & 0xbf);
        let alone: Vec<f32> = inputs
            .chunks_exact(COLUMNS)
            .flat_map(|input| times(&*neon()[0], &matrix, input))
            .collect();
        assert!(alone.iter().all(|value| value.is_finite()));
        for kernels in neon() {
            for tokens in 1..=21 {
                let together = times(&*kernels, &matrix, &inputs[..tokens * COLUMNS]);
                let same = together
                    .iter()
                    .zip(&alone)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(
                    same,
                    "{} {} {tokens} tokens",
                    kernels.name(),
                    block_type.name()
                );
            }
        }
    }
}

#[test]
fn the_largest_products_do_not_overflow() {
    // Every weight at one end of its range, every activation at 127 or -127.
    for (end, input) in [
        (0xff, 1.0),
        (0xff, -1.0),
        (0x00, 1.0),
        (0x00, -1.0),
        (0x80, -1.0),
    ] {
        let inputs = vec![input; 13 * COLUMNS];
        for block_type in quantized_types() {
            let scales: &[usize] = match block_type {
                BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4K | BlockType::Q5K => &[0, 2],
                BlockType::Q2K => &[80, 82],
                BlockType::Q3K => &[108],
                BlockType::Q6K => &[208],
                BlockType::Tq1_0 => &[52],
                BlockType::Tq2_0 => &[64],
                BlockType::Mxfp4 => &[],
                _ => &[0],
            };
            let matrix = pack(block_type, |index| {
                let place = index % block_type.block_bytes();
                match scales
                    .iter()
                    .find(|begin| (**begin..**begin + 2).contains(&place))
                {
                    // 1.0 in f16.
                    Some(begin) => [0x00, 0x3c][place - begin],
                    None if block_type == BlockType::Mxfp4 && place == 0 => 127,
                    None => end,
                }
            });
            let expected = times(&Scalar, &matrix, &inputs);
            for kernels in neon() {
                let actual = times(&*kernels, &matrix, &inputs);
                for (expected, actual) in expected.iter().zip(actual) {
                    assert!(
                        (expected - actual).abs() <= 2e-5 * expected.abs().max(1e-3),
                        "{} {} of {end:#x}: {actual} against {expected}",
                        kernels.name(),
                        block_type.name()
                    );
                }
            }
        }
    }
}
