//! MXFP4: 32 elements that are 4-bit floats (E2M1), and one power of two as scale (E8M0).
//!
//! Layout, 17 bytes: exponent (1), nibbles (16; low ones are the first half). The codebook holds
//! twice the value of each 4-bit float so that it is of integers, and the scale is half of what the
//! exponent says. Unpacked, elements are codebook entries moved up by 128. The largest elements of
//! the largest exponent overflow to infinity in `f32`, as they do in `gguf`.

use super::coding::Codebook;
use super::fields::{exact, exact_mut, field};
use super::iq4_nl::look_up;
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format MXFP4.
#[derive(Debug, Clone, Copy)]
pub struct Mxfp4;

const _: () = assert!(Mxfp4::BYTES == 1 + Mxfp4::ELEMENTS / 2);

/// Twice the E2M1 values, plus 128.
const CODEBOOK: [u8; 16] = Codebook::Floats.entries();

impl BlockFormat for Mxfp4 {
    const BLOCK_TYPE: BlockType = BlockType::Mxfp4;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 17;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const CODEBOOK: Option<Codebook> = Some(Codebook::Floats);
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Bfloat;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = BlockScales::single(half_of_power(block[0]));
        look_up(&CODEBOOK, field(block, 1), exact_mut(quants));
    }
}

/// `2^(exponent - 128)`; the two smallest are subnormal in `f32`.
#[inline]
fn half_of_power(exponent: u8) -> f32 {
    f32::from_bits(match exponent {
        0 => 0x0020_0000,
        1 => 0x0040_0000,
        _ => u32::from(exponent - 1) << 23,
    })
}
