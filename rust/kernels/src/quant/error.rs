//! What can be wrong with a request to decode or encode blocks.
//!
//! Any bytes are valid blocks; what can be refused are lengths, missing encoders, and numbers that no block holds.

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
    /// A number that no block can stand for.
    #[error("value {index} is not finite: {block_type} holds finite values alone")]
    NotFinite {
        /// The format asked for.
        block_type: BlockType,
        /// Which of the values.
        index: usize,
    },
    /// Weights of errors that are not one a value, or no weights.
    #[error(
        "importance has {num_weights} numbers for {num_elements} values: there must be one for each, finite and not negative"
    )]
    Importance {
        /// How many values.
        num_elements: usize,
        /// How many weights.
        num_weights: usize,
    },
    /// The format can be read but not written.
    #[error("no encoder for {block_type}: it can be read and not made")]
    NoEncoder {
        /// The format asked for.
        block_type: BlockType,
    },
}
