//! Writing blocks: the simple formats, equal to the package `gguf` bit for bit.

use half::f16;

use super::{BlockType, QuantError, check_lengths, to_bfloat};

type Values = [f32; 32];

/// Encodes whole blocks.
pub fn encode(block_type: BlockType, values: &[f32], bytes: &mut [u8]) -> Result<(), QuantError> {
    check_lengths(block_type, values.len(), bytes.len())?;
    let encode_block: fn(&Values, &mut [u8]) = match block_type {
        BlockType::F32 => return Ok(fill(values, bytes, f32::to_le_bytes)),
        BlockType::F16 => {
            return Ok(fill(values, bytes, |value| {
                f16::from_f32(value).to_le_bytes()
            }));
        }
        BlockType::Bf16 => return Ok(fill(values, bytes, |value| to_bfloat(value).to_le_bytes())),
        BlockType::Q4_0 => |values, block| symmetric(values, block, 4),
        BlockType::Q5_0 => |values, block| symmetric(values, block, 5),
        BlockType::Q4_1 => |values, block| with_minimum(values, block, 4),
        BlockType::Q5_1 => |values, block| with_minimum(values, block, 5),
        BlockType::Q8_0 => eight_bits,
        other => {
            return Err(QuantError::NoEncoder {
                type_name: other.name(),
            });
        }
    };
    let blocks = values
        .as_chunks::<32>()
        .0
        .iter()
        .zip(bytes.chunks_exact_mut(block_type.block_bytes()));
    for (values, block) in blocks {
        encode_block(values, block);
    }
    Ok(())
}

fn fill<const N: usize>(values: &[f32], bytes: &mut [u8], convert: impl Fn(f32) -> [u8; N]) {
    for (value, bytes) in values.iter().zip(bytes.as_chunks_mut::<N>().0) {
        *bytes = convert(*value);
    }
}

fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Truncates to a byte as NumPy does, then clips.
fn clip(value: f32, largest: u8) -> u8 {
    ((value.trunc() as i32) as u8).min(largest)
}

fn put_half(block: &mut [u8], offset: usize, value: f32) {
    block[offset..offset + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// Writes nibbles, and before them the fifth bits where there are any.
fn put_quants(quants: &[u8; 32], block: &mut [u8], bits: u32) {
    let nibbles = if bits == 5 {
        let (fifth, nibbles) = block.split_at_mut(4);
        fifth.fill(0);
        for (index, quant) in quants.iter().enumerate() {
            fifth[index / 8] |= (quant >> 4) << (index % 8);
        }
        nibbles
    } else {
        block
    };
    for (index, byte) in nibbles.iter_mut().enumerate() {
        *byte = quants[index] & 15 | quants[index + 16] << 4;
    }
}

fn symmetric(values: &Values, block: &mut [u8], bits: u32) {
    let half_range = f32::from(1u8 << (bits - 1));
    let largest = values.iter().fold(0.0f32, |largest, value| {
        if value.abs() > largest.abs() {
            *value
        } else {
            largest
        }
    });
    let scale = largest / -half_range;
    let inverse = inverse(scale);
    let quants = values.map(|value| clip(value * inverse + (half_range + 0.5), (1 << bits) - 1));
    put_half(block, 0, scale);
    put_quants(&quants, &mut block[2..], bits);
}

fn with_minimum(values: &Values, block: &mut [u8], bits: u32) {
    let steps = (1u8 << bits) - 1;
    let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
    let scale = (highest - lowest) / f32::from(steps);
    let inverse = inverse(scale);
    let quants = values.map(|value| clip((value - lowest) * inverse + 0.5, steps));
    put_half(block, 0, scale);
    put_half(block, 2, lowest);
    put_quants(&quants, &mut block[4..], bits);
}

fn eight_bits(values: &Values, block: &mut [u8]) {
    let scale = values
        .iter()
        .fold(0.0f32, |largest, value| largest.max(value.abs()))
        / 127.0;
    let inverse = inverse(scale);
    put_half(block, 0, scale);
    for (value, byte) in values.iter().zip(&mut block[2..]) {
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
}
