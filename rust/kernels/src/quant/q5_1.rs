//! Q5_1: 32 elements of 5 bits, one `f16` scale and one `f16` minimum.
//!
//! Layout, 24 bytes: scale (2), minimum (2), fifth bits (4; element `i` at bit `i`), nibbles (16;
//! low ones are the first half).

use super::fields::{
    add_fifth_bits, exact, exact_mut, field, fifth_bits, half_at, pack_nibbles, unpack_nibbles,
    write_half,
};
use super::rounding::{inverse, low_bytes, range};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q5_1.
#[derive(Debug, Clone, Copy)]
pub struct Q5_1;

const _: () = assert!(Q5_1::BYTES == 2 + 2 + Q5_1::ELEMENTS / 8 + Q5_1::ELEMENTS / 2);

impl BlockFormat for Q5_1 {
    const BLOCK_TYPE: BlockType = BlockType::Q5_1;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 24;
    const GROUP: usize = 32;
    const BITS: u32 = 5;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = true;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants = exact_mut(quants);
        *scales = BlockScales::with_minimum(half_at(block, 0), half_at(block, 2));
        unpack_nibbles(field(block, 8), quants);
        add_fifth_bits(*field(block, 4), quants);
    }
}

/// The smallest value becomes 0, the largest 31.
#[inline(always)]
pub(super) fn encode(values: &[f32; 32], block: &mut [u8; Q5_1::BYTES]) {
    let (minimum, maximum) = range(values);
    let scale = (maximum - minimum) / 31.0;
    let inverse = inverse(scale);
    let quants =
        low_bytes(values.map(|value| (value - minimum) * inverse + 0.5)).map(|quant| quant.min(31));
    write_half(block, 0, scale);
    write_half(block, 2, minimum);
    block[4..8].copy_from_slice(&fifth_bits(&quants));
    pack_nibbles(&quants, &mut block[8..]);
}
