//! The formats without scales: `F32`, `F16` and `BF16`.
//!
//! Plain conversions over slices; lengths have been checked by the callers in this module's parent.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Elements converted at a time, through a buffer on the stack.
const BATCH: usize = 64;

pub(super) fn decode_f32(bytes: &[u8], output: &mut [f32]) {
    for (value, &word) in output.iter_mut().zip(bytes.as_chunks().0) {
        *value = f32::from_le_bytes(word);
    }
}

pub(super) fn decode_f16(bytes: &[u8], output: &mut [f32]) {
    let mut batch = [f16::ZERO; BATCH];
    let words = bytes.as_chunks().0.chunks(BATCH);
    for (words, output) in words.zip(output.chunks_mut(BATCH)) {
        for (half, &word) in batch.iter_mut().zip(words) {
            *half = f16::from_le_bytes(word);
        }
        batch[..words.len()].convert_to_f32_slice(output);
    }
}

/// An `f32` whose lower half is zero: a shift, which keeps NaN as it is.
pub(super) fn decode_bf16(bytes: &[u8], output: &mut [f32]) {
    for (value, &word) in output.iter_mut().zip(bytes.as_chunks().0) {
        *value = f32::from_bits(u32::from(u16::from_le_bytes(word)) << 16);
    }
}

pub(super) fn encode_f32(values: &[f32], bytes: &mut [u8]) {
    for (word, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *word = value.to_le_bytes();
    }
}

pub(super) fn encode_f16(values: &[f32], bytes: &mut [u8]) {
    let mut batch = [f16::ZERO; BATCH];
    let words = bytes.as_chunks_mut().0.chunks_mut(BATCH);
    for (words, values) in words.zip(values.chunks(BATCH)) {
        let halves = &mut batch[..values.len()];
        halves.convert_from_f32_slice(values);
        for (word, half) in words.iter_mut().zip(halves) {
            *word = half.to_le_bytes();
        }
    }
}

pub(super) fn encode_bf16(values: &[f32], bytes: &mut [u8]) {
    for (word, &value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
        *word = bf16::from_f32(value).to_le_bytes();
    }
}
