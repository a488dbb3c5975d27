//! Block formats: how weights are stored, decoded and seen as integers.
//!
//! A block is a fixed number of elements in a fixed number of bytes. [`decode`] turns blocks into
//! `f32`, [`encode`] makes the simple ones, and [`BlockFormat::unpack`] shows a block as unsigned
//! integers and scales, which is what the packer of the matrix kernels reads. Layouts follow GGUF;
//! `f32` results equal, bit for bit, what the Python package `gguf` computes. Nothing here knows a
//! file or a tensor.

mod block_type;
mod encode;
mod error;
mod fields;
mod float;
mod format;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
#[cfg(test)]
mod tests;

pub use block_type::BlockType;
pub use encode::encode;
pub use error::QuantError;
pub use format::{BlockFormat, BlockScales, BlockVisitor, ScaleEncoding};
pub use iq4_nl::Iq4Nl;
pub use iq4_xs::Iq4Xs;
pub use mxfp4::Mxfp4;
pub use q2_k::Q2K;
pub use q3_k::Q3K;
pub use q4_0::Q4_0;
pub use q4_1::Q4_1;
pub use q4_k::Q4K;
pub use q5_0::Q5_0;
pub use q5_1::Q5_1;
pub use q5_k::Q5K;
pub use q6_k::Q6K;
pub use q8_0::Q8_0;

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
fn check_lengths(
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
