//! What the tests that compare implementations share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

use ruvllm_kernels::quant::BlockType;
use ruvllm_kernels::{Kernels, available};

/// Sums of a few thousand products in another order differ by this, relative to their magnitude.
pub(crate) const SUM_TOLERANCE: f32 = 2e-5;

/// How many cases a property is tried on: fewer where an emulator runs them.
pub(crate) fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|wanted| wanted.parse().ok()).unwrap_or(64)
}

/// A repeatable stream of numbers in -1..1.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next one.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }

    /// Some of them.
    pub(crate) fn row(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next()).collect()
    }

    /// As many bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| (self.next() * 128.0) as i8 as u8)
            .collect()
    }
}

/// Numbers turned by the Hadamard matrix of the largest power of two that divides their count, by its definition: the
/// sign is that of the ones which row and column have in common.
pub(crate) fn turned(numbers: &[f64]) -> Vec<f64> {
    let length = numbers.len() & numbers.len().wrapping_neg();
    let turn = |index: usize| {
        let (begin, row) = (index / length * length, index % length);
        let signed = |column: usize| match (row & column).count_ones() % 2 {
            0 => numbers[begin + column],
            _ => -numbers[begin + column],
        };
        (0..length).map(signed).sum::<f64>() / (length as f64).sqrt()
    };
    (0..numbers.len()).map(turn).collect()
}

/// Every implementation of this machine but the plain one.
pub(crate) fn fast() -> Vec<Arc<dyn Kernels>> {
    available()
        .into_iter()
        .filter(|kernels| kernels.name() != "scalar")
        .collect()
}

/// Panics unless all numbers are as close as `tolerance` of the largest expected one.
pub(crate) fn assert_close(name: &str, expected: &[f32], actual: &[f32], tolerance: f32) {
    assert_eq!(expected.len(), actual.len());
    let magnitude = expected
        .iter()
        .fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        let close = (expected - actual).abs() <= tolerance * magnitude || expected == actual;
        assert!(
            close,
            "{name}[{index}]: {actual} against {expected}, magnitude {magnitude}"
        );
    }
}

/// Random bytes of a type whose scales are moderate, so that sums stay in range.
pub(crate) fn weights(
    block_type: BlockType,
    rows: usize,
    columns: usize,
    numbers: &mut Numbers,
) -> Vec<u8> {
    let mut bytes =
        numbers.bytes(rows * columns / block_type.block_elements() * block_type.block_bytes());
    let half = |value: f32| half_bits(value).to_le_bytes();
    for block in bytes.chunks_exact_mut(block_type.block_bytes()) {
        let (first, second) = (numbers.next() * 0.01, numbers.next() * 0.01);
        let offsets: &[usize] = match block_type {
            BlockType::F32 => {
                block.copy_from_slice(&numbers.next().to_le_bytes());
                continue;
            }
            BlockType::Bf16 => {
                block.copy_from_slice(&numbers.next().to_le_bytes()[2..]);
                continue;
            }
            BlockType::Mxfp4 => {
                block[0] = 118 + block[0] % 8;
                continue;
            }
            BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4K | BlockType::Q5K => &[0, 2],
            BlockType::Q2K => &[80, 82],
            BlockType::Q3K => &[108],
            BlockType::Q6K => &[208],
            BlockType::Tq1_0 => &[52],
            BlockType::Tq2_0 => &[64],
            _ => &[0],
        };
        for (offset, value) in offsets.iter().zip([first, second]) {
            block[*offset..offset + 2].copy_from_slice(&half(value));
        }
    }
    bytes
}

/// A number as the bits of its f16.
pub(crate) fn half_bits(value: f32) -> u16 {
    let mut bytes = [0; 2];
    ruvllm_kernels::quant::encode(BlockType::F16, &[value], &mut bytes).unwrap();
    u16::from_le_bytes(bytes)
}
