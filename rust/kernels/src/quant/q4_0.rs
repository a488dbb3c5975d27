//! Q4_0: 32 elements of 4 bits around 8, and one `f16` scale.
//!
//! Layout, 18 bytes: scale (2), nibbles (16; low ones are the first half).

use super::fields::{exact, exact_mut, field, half_at, pack_nibbles, unpack_nibbles, write_half};
use super::rounding::{inverse, largest_magnitude, low_bytes};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q4_0.
#[derive(Debug, Clone, Copy)]
pub struct Q4_0;

const _: () = assert!(Q4_0::BYTES == 2 + Q4_0::ELEMENTS / 2);

impl BlockFormat for Q4_0 {
    const BLOCK_TYPE: BlockType = BlockType::Q4_0;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const ZERO: u8 = 8;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = BlockScales::single(half_at(block, 0));
        unpack_nibbles(field(block, 2), exact_mut(quants));
    }
}

/// The value of largest magnitude becomes -8.
#[inline(always)]
pub(super) fn encode(values: &[f32; 32], block: &mut [u8; Q4_0::BYTES]) {
    let scale = largest_magnitude(values) / -8.0;
    let inverse = inverse(scale);
    let quants = low_bytes(values.map(|value| value * inverse + 8.5)).map(|quant| quant.min(15));
    write_half(block, 0, scale);
    pack_nibbles(&quants, &mut block[2..]);
}
