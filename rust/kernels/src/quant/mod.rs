//! Block formats: how weights are stored, decoded and seen as integers.
//!
//! A block is a fixed number of elements in a fixed number of bytes. [`decode`] turns blocks into
//! `f32`, [`encode`] makes the simple ones, and [`BlockFormat::unpack`] shows a block as unsigned
//! integers and scales, which is what the packer of the matrix kernels reads. Layouts follow GGUF;
//! `f32` results equal, bit for bit, what the Python package `gguf` computes. Nothing here knows a
//! file or a tensor.

mod block_type;
pub(crate) mod coding;
mod decode;
mod encode;
mod error;
mod fields;
mod float;
mod format;
mod iq3_s;
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
mod rounding;
mod search;
mod table;
#[cfg(test)]
mod tests;
mod tq1_0;
mod tq2_0;

pub use block_type::BlockType;
pub use coding::Codebook;
pub use decode::decode;
pub use encode::{encode, encode_weighted};
pub use error::QuantError;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use format::{BFLOAT_SCALES, HALF_SCALES, SINGLE_SCALES, SUPER_SCALES};
pub use format::{BlockFormat, BlockScales, BlockVisitor, ScaleEncoding};
pub use iq3_s::Iq3S;
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
pub use tq1_0::Tq1_0;
pub use tq2_0::Tq2_0;
