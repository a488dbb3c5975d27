//! A packed image: what a model's weights became when they were packed, in a file that the next start maps.
//!
//! It is a safetensors file whose tensors are plain bytes, each beginning on a cache line; the last is
//! [`SEAL`]: what the image was made of, and a check of all bytes before it.

mod reader;
mod writer;

pub use reader::{ImagePiece, PackedImage};
pub use writer::ImageWriter;

/// The tensor that says what the rest is.
const SEAL: &str = "image";
/// Tensors begin at multiples of this, as vector loads want it.
const LINE_BYTES: usize = 64;
/// The first tensor begins at a multiple of this.
const PAGE_BYTES: usize = 4096;

/// What an image was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMark {
    /// Which model.
    pub fingerprint: u128,
    /// Which way of packing.
    pub packing: u32,
}

/// The bytes of a seal: a mark and a check.
const SEAL_BYTES: usize = 64;

fn seal(mark: ImageMark, check: u64) -> [u8; SEAL_BYTES] {
    let mut bytes = [0; SEAL_BYTES];
    bytes[..16].copy_from_slice(&mark.fingerprint.to_le_bytes());
    bytes[16..20].copy_from_slice(&mark.packing.to_le_bytes());
    bytes[24..32].copy_from_slice(&check.to_le_bytes());
    bytes
}

fn unsealed(bytes: &[u8]) -> Option<(ImageMark, u64)> {
    let bytes: &[u8; SEAL_BYTES] = bytes.try_into().ok()?;
    let mark = ImageMark {
        fingerprint: u128::from_le_bytes(*bytes.first_chunk()?),
        packing: u32::from_le_bytes(*bytes[16..].first_chunk()?),
    };
    Some((mark, u64::from_le_bytes(*bytes[24..].first_chunk()?)))
}
