//! Making blocks from `f32`: dispatch, and the arithmetic that the encoders share.
//!
//! Encoders equal those of the Python package `gguf` in every byte, also where scales underflow or
//! overflow, so sums and products are in its order and in `f32`. What may differ: which NaN stands
//! for NaN, and the sign of a minimum of zero in a block that has zeros of both signs.

use super::{BlockType, QuantError, check_lengths, float, q4_0, q4_1, q5_0, q5_1, q8_0};

/// Encodes `values` as whole blocks into `bytes`, which must be exactly as long as they are.
///
/// `F32`, `F16`, `BF16`, `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1` and `Q8_0` have encoders.
pub fn encode(block_type: BlockType, values: &[f32], bytes: &mut [u8]) -> Result<(), QuantError> {
    check_lengths(block_type, bytes.len(), values.len())?;
    match block_type {
        BlockType::F32 => float::encode_f32(values, bytes),
        BlockType::F16 => float::encode_f16(values, bytes),
        BlockType::Bf16 => float::encode_bf16(values, bytes),
        BlockType::Q4_0 => encode_blocks(values, bytes, q4_0::encode),
        BlockType::Q4_1 => encode_blocks(values, bytes, q4_1::encode),
        BlockType::Q5_0 => encode_blocks(values, bytes, q5_0::encode),
        BlockType::Q5_1 => encode_blocks(values, bytes, q5_1::encode),
        BlockType::Q8_0 => encode_blocks(values, bytes, q8_0::encode),
        _ => return Err(QuantError::NoEncoder { block_type }),
    }
    Ok(())
}

fn encode_blocks<const BYTES: usize>(
    values: &[f32],
    bytes: &mut [u8],
    encode_block: impl Fn(&[f32; 32], &mut [u8; BYTES]),
) {
    let blocks = bytes.as_chunks_mut().0;
    for (values, block) in values.as_chunks().0.iter().zip(blocks) {
        encode_block(values, block);
    }
}

/// The first value of largest magnitude; a NaN counts as largest.
pub(super) fn largest_magnitude(values: &[f32; 32]) -> f32 {
    values[1..].iter().fold(values[0], |largest, &value| {
        let larger = value.abs() > largest.abs() || (value.is_nan() && !largest.is_nan());
        if larger { value } else { largest }
    })
}

/// Smallest and largest value; both NaN if one value is.
pub(super) fn range(values: &[f32; 32]) -> (f32, f32) {
    values[1..]
        .iter()
        .fold((values[0], values[0]), |(minimum, maximum), &value| {
            if value.is_nan() {
                return (value, value);
            }
            let smaller = value < minimum;
            let larger = value > maximum;
            (
                if smaller { value } else { minimum },
                if larger { value } else { maximum },
            )
        })
}

/// `1 / scale`, or zero for a block of zeros.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The low byte of `value` truncated to an integer; zero where no `i32` holds it (infinities, NaN).
///
/// Tiny scales have an infinite inverse, so this does happen.
pub(super) fn low_byte(value: f32) -> u8 {
    const LIMIT: f32 = 2_147_483_648.0;
    if (-LIMIT..LIMIT).contains(&value) {
        value as i32 as u8
    } else {
        0
    }
}
