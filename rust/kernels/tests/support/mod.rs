//! What the tests that compare implementations share.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;

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
