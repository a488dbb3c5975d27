//! Decoding and encoding against golden files that the Python package `gguf` made
//! (tests/fixtures/quant/make_golden.py), and the integer view against decoding.

use std::path::Path;

use ruvllm_kernels::quant::{BlockFormat, BlockScales, BlockType, BlockVisitor, decode, encode};

const ENCODED: [BlockType; 7] = [
    BlockType::F16,
    BlockType::Bf16,
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
];

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/quant");
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks().0.iter();
    words.map(|&word| f32::from_le_bytes(word)).collect()
}

/// The blocks and the values of `<TYPE>.bin`.
fn decode_case(block_type: BlockType) -> (Vec<u8>, Vec<f32>) {
    let mut blocks = fixture(&format!("{block_type}.bin"));
    let bytes_with_values = block_type.block_bytes() + 4 * block_type.block_elements();
    assert!(blocks.len().is_multiple_of(bytes_with_values));
    let num_blocks = blocks.len() / bytes_with_values;
    let values = floats(&blocks.split_off(num_blocks * block_type.block_bytes()));
    (blocks, values)
}

#[test]
fn decoded_values_equal_the_golden_ones_in_every_bit() {
    for block_type in BlockType::ALL {
        let (blocks, expected) = decode_case(block_type);
        let mut values = vec![f32::INFINITY; expected.len()];
        decode(block_type, &blocks, &mut values).unwrap();
        for (index, (value, expected)) in values.iter().zip(&expected).enumerate() {
            let same = if expected.is_nan() {
                value.is_nan()
            } else {
                value.to_bits() == expected.to_bits()
            };
            assert!(same, "{block_type} [{index}]: {value:e}, not {expected:e}");
        }
    }
}

#[test]
fn encoded_bytes_equal_the_golden_ones() {
    for block_type in ENCODED {
        let mut file = fixture(&format!("{block_type}.encode.bin"));
        let block_bytes = block_type.block_bytes();
        let elements = block_type.block_elements();
        let num_blocks = file.len() / (block_bytes + 4 * elements);
        let expected = file.split_off(num_blocks * elements * 4);
        let values = floats(&file);
        let mut bytes = vec![0xA5; expected.len()];
        encode(block_type, &values, &mut bytes).unwrap();
        let blocks = bytes.chunks(block_bytes).zip(expected.chunks(block_bytes));
        for (index, (block, expected)) in blocks.enumerate() {
            let values = &values[index * elements..][..elements];
            assert_eq!(block, expected, "{block_type} block {index} of {values:?}");
        }
    }
}

/// Checks each block's integer view against its golden values.
struct CheckUnpacked<'a> {
    blocks: &'a [u8],
    expected: &'a [f32],
}

impl BlockVisitor for CheckUnpacked<'_> {
    /// Blocks that were finite.
    type Output = usize;

    fn visit<F: BlockFormat>(self) -> usize {
        let mut num_finite = 0;
        let blocks = self.blocks.chunks_exact(F::BYTES);
        for (block, expected) in blocks.zip(self.expected.chunks_exact(F::ELEMENTS)) {
            let mut quants = vec![0xFF; F::ELEMENTS];
            let mut scales = BlockScales::default();
            F::unpack(block, &mut quants, &mut scales);
            let bits = if F::CODEBOOK.is_some() { 8 } else { F::BITS };
            assert!(quants.iter().all(|&quant| u32::from(quant) < 1 << bits));
            if expected.iter().all(|value| value.is_finite()) {
                num_finite += 1;
                check_formula::<F>(&quants, &scales, expected);
            }
        }
        num_finite
    }
}

/// The formula of [`BlockFormat`], exact in `f64` but for the last sum.
///
/// `f32` rounds the product once and the sum once, each by half a unit in the last place; the
/// tolerance is one unit of the larger term.
fn check_formula<F: BlockFormat>(quants: &[u8], scales: &BlockScales, expected: &[f32]) {
    for (index, (&quant, &expected)) in quants.iter().zip(expected).enumerate() {
        let group = index / F::GROUP;
        let scale = f64::from(scales.base) * f64::from(scales.sub[group]);
        let scaled = scale * (f64::from(quant) - f64::from(F::ZERO));
        let minimum = f64::from(scales.base_minimum) * f64::from(scales.sub_minimum[group]);
        assert!(F::HAS_MINIMUM || minimum == 0.0);
        let error = (scaled + minimum - f64::from(expected)).abs();
        let tolerance = f64::from(f32::EPSILON) * scaled.abs().max(minimum.abs());
        assert!(
            error <= tolerance,
            "{} [{index}]: {} instead of {expected}",
            F::BLOCK_TYPE,
            scaled + minimum
        );
    }
}

#[test]
fn the_integer_view_gives_the_golden_values() {
    for block_type in BlockType::ALL {
        let (blocks, expected) = decode_case(block_type);
        let num_finite = block_type.visit(CheckUnpacked {
            blocks: &blocks,
            expected: &expected,
        });
        assert_eq!(num_finite.is_some(), block_type.is_quantized());
        assert!(num_finite.is_none_or(|count| count >= 12), "{block_type}");
    }
}
