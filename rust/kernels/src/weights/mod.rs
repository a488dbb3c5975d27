//! Weights in the order in which the kernels stream them.
//!
//! A matrix is cut into tiles of [`TILE_ROWS`] rows. Inside a tile, quantized weights go in blocks
//! of 32 inputs, each one lane a row:
//!
//! ```text
//! 4 bits: 4 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b low, input 16+4j+b high
//! 5, 6 bits: the same for the low four; then 1 or 2 vectors of the bits above them,
//!         1 bit: byte b of lane r holds input 4j+b at bit j
//!         2 bits: vector p, byte b of lane r holds input 16p+4j+b at bits 2j, 2j+1
//! 8 bits: 8 vectors of 64 bytes; vector j, lane r, byte b: input 4j+b
//! ```
//!
//! Their scales stand in a second stream, in the order of use (see [`crate::quant::ScaleEncoding`]): for each 32
//! inputs 16 scales and, where the format has them, 16 minimums; a super-block of 256 has its f16
//! bases first and then small integers. Dense weights go input by input, 16 rows side by side; 16-bit
//! ones have a byte for each row and block, the power of two of `matmul/words.rs`.

mod bytes;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod decoded;
mod layout;
mod matrix;
mod source;
mod tiles;

pub use bytes::SharedBytes;
pub use layout::{BLOCK_INPUTS, Elements, QuantLayout, TILE_ROWS};
pub(crate) use layout::{TileBlock, VECTOR_BYTES, high_bits_place};
pub use matrix::{PackedBefore, PackedMatrix};
pub use source::{PackingError, WeightSource};
