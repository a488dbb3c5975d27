//! Making blocks from `f32`: which format has which encoder.

use super::decode::check_lengths;
use super::{BlockType, QuantError, float, q4_0, q4_1, q5_0, q5_1, q8_0};

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
