//! Q5_0: 32 elements of 5 bits around 16, and one `f16` scale.
//!
//! Layout, 22 bytes: scale (2), fifth bits (4; element `i` at bit `i`), nibbles (16; low ones are
//! the first half).

use super::fields::{
    add_fifth_bits, exact, exact_mut, field, fifth_bits, half_at, pack_nibbles, unpack_nibbles,
    write_half,
};
use super::rounding::{inverse, largest_magnitude, low_bytes};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q5_0.
#[derive(Debug, Clone, Copy)]
pub struct Q5_0;

const _: () = assert!(Q5_0::BYTES == 2 + Q5_0::ELEMENTS / 8 + Q5_0::ELEMENTS / 2);

impl BlockFormat for Q5_0 {
    const BLOCK_TYPE: BlockType = BlockType::Q5_0;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 22;
    const GROUP: usize = 32;
    const BITS: u32 = 5;
    const ZERO: u8 = 16;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants = exact_mut(quants);
        *scales = BlockScales::single(half_at(block, 0));
        unpack_nibbles(field(block, 6), quants);
        add_fifth_bits(*field(block, 2), quants);
    }
}

/// The value of largest magnitude becomes -16.
#[inline(always)]
pub(super) fn encode(values: &[f32; 32], block: &mut [u8; Q5_0::BYTES]) {
    let scale = largest_magnitude(values) / -16.0;
    let inverse = inverse(scale);
    let quants = low_bytes(values.map(|value| value * inverse + 16.5)).map(|quant| quant.min(31));
    write_half(block, 0, scale);
    block[2..6].copy_from_slice(&fifth_bits(&quants));
    pack_nibbles(&quants, &mut block[6..]);
}
