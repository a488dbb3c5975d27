//! What can be wrong with a request to decode or encode blocks.
//!
//! Any bytes are valid blocks, so only lengths and missing encoders can be refused.

use super::BlockType;

/// A refused request to [`decode`](super::decode) or [`encode`](super::encode).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The byte buffer ends within a block.
    #[error(
        "{num_bytes} bytes are not whole blocks of {block_type}: the length must be a multiple of {block_bytes}"
    )]
    PartialBlockBytes {
        /// The format asked for.
        block_type: BlockType,
        /// Length of the byte buffer.
        num_bytes: usize,
        /// Bytes of one block.
        block_bytes: usize,
    },
    /// The buffer of values ends within a block.
    #[error(
        "{num_elements} values are not whole blocks of {block_type}: the length must be a multiple of {block_elements}"
    )]
    PartialBlockElements {
        /// The format asked for.
        block_type: BlockType,
        /// Length of the buffer of values.
        num_elements: usize,
        /// Elements of one block.
        block_elements: usize,
    },
    /// Bytes and values are whole blocks, but not equally many.
    #[error(
        "{num_bytes} bytes of {block_type} are {num_blocks} blocks with {expected_elements} values, but the buffer of values holds {num_elements}"
    )]
    LengthMismatch {
        /// The format asked for.
        block_type: BlockType,
        /// Length of the byte buffer.
        num_bytes: usize,
        /// Length of the buffer of values.
        num_elements: usize,
        /// Blocks in the byte buffer.
        num_blocks: usize,
        /// Values that many blocks hold.
        expected_elements: usize,
    },
    /// The format can be read but not written.
    #[error(
        "no encoder for {block_type}: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 can be encoded"
    )]
    NoEncoder {
        /// The format asked for.
        block_type: BlockType,
    },
}
