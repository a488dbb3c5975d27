//! Q4_1: 32 elements of 4 bits, one `f16` scale and one `f16` minimum.
//!
//! Layout, 20 bytes: scale (2), minimum (2), nibbles (16; low ones are the first half).

use super::fields::{exact, exact_mut, field, half_at, pack_nibbles, unpack_nibbles, write_half};
use super::rounding::{inverse, low_bytes, range};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q4_1.
#[derive(Debug, Clone, Copy)]
pub struct Q4_1;

const _: () = assert!(Q4_1::BYTES == 2 + 2 + Q4_1::ELEMENTS / 2);

impl BlockFormat for Q4_1 {
    const BLOCK_TYPE: BlockType = BlockType::Q4_1;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 20;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = true;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = BlockScales::with_minimum(half_at(block, 0), half_at(block, 2));
        unpack_nibbles(field(block, 4), exact_mut(quants));
    }
}

/// The smallest value becomes 0, the largest 15.
#[inline(always)]
pub(super) fn encode(values: &[f32; 32], block: &mut [u8; Q4_1::BYTES]) {
    let (minimum, maximum) = range(values);
    let scale = (maximum - minimum) / 15.0;
    let inverse = inverse(scale);
    let quants =
        low_bytes(values.map(|value| (value - minimum) * inverse + 0.5)).map(|quant| quant.min(15));
    write_half(block, 0, scale);
    write_half(block, 2, minimum);
    pack_nibbles(&quants, &mut block[4..]);
}
