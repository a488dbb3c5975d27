//! Blocks of any format as `f32`.

use super::{BlockFormat, BlockType, BlockVisitor, QuantError, float};

/// Decodes whole blocks into `f32`.
///
/// `bytes` holds any number of blocks of `block_type`, `output` exactly their elements. Values that
/// are not NaN equal those of the Python package `gguf` in every bit.
pub fn decode(block_type: BlockType, bytes: &[u8], output: &mut [f32]) -> Result<(), QuantError> {
    check_lengths(block_type, bytes.len(), output.len())?;
    match block_type {
        BlockType::F32 => float::decode_f32(bytes, output),
        BlockType::F16 => float::decode_f16(bytes, output),
        BlockType::Bf16 => float::decode_bf16(bytes, output),
        quantized => {
            quantized.visit(DecodeBlocks { bytes, output });
        }
    }
    Ok(())
}

/// Refuses buffers that are not the same whole number of blocks.
pub(super) fn check_lengths(
    block_type: BlockType,
    num_bytes: usize,
    num_elements: usize,
) -> Result<(), QuantError> {
    let block_bytes = block_type.block_bytes();
    let block_elements = block_type.block_elements();
    if !num_bytes.is_multiple_of(block_bytes) {
        return Err(QuantError::PartialBlockBytes {
            block_type,
            num_bytes,
            block_bytes,
        });
    }
    if !num_elements.is_multiple_of(block_elements) {
        return Err(QuantError::PartialBlockElements {
            block_type,
            num_elements,
            block_elements,
        });
    }
    if num_bytes / block_bytes != num_elements / block_elements {
        return Err(QuantError::LengthMismatch {
            block_type,
            num_bytes,
            num_elements,
            num_blocks: num_bytes / block_bytes,
            expected_elements: num_bytes / block_bytes * block_elements,
        });
    }
    Ok(())
}

/// Decodes every block of `bytes`; the lengths have been checked.
struct DecodeBlocks<'a> {
    bytes: &'a [u8],
    output: &'a mut [f32],
}

impl BlockVisitor for DecodeBlocks<'_> {
    type Output = ();

    fn visit<F: BlockFormat>(self) {
        let blocks = self.bytes.chunks_exact(F::BYTES);
        for (block, output) in blocks.zip(self.output.chunks_exact_mut(F::ELEMENTS)) {
            F::decode(block, output);
        }
    }
}
