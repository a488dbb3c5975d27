//! Q5_0: 32 elements of 5 bits around 16, and one `f16` scale.
//!
//! Layout, 22 bytes: scale (2), fifth bits (4; element `i` at bit `i`), nibbles (16; low ones are
//! the first half).

use super::fields::{
    add_fifth_bits, exact, exact_mut, field, fifth_bits, half_at, pack_nibbles, unpack_nibbles,
    write_half,
};
use super::rounding::{inverse, largest_magnitude, low_bytes};
use super::search::groups::{Groups, in_order};
use super::search::scaled::{self, Whole};
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

/// Eight blocks together, where it is known what errors count: the best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode_eight(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    blocks: &mut [[u8; Q5_0::BYTES]; 8],
) {
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        // Whatever a code is, a scale of zero makes it zero.
        *blocks = [[0; Q5_0::BYTES]; 8];
        return;
    };
    let (scales, codes) = scaled::choose_each::<Whole<16>, 8, 32>(&groups);
    let quants = in_order(&codes, 16.0);
    let quants = quants.as_chunks::<32>().0;
    for ((block, scale), quants) in blocks.iter_mut().zip(scales).zip(quants) {
        block[..2].copy_from_slice(&scale);
        block[2..6].copy_from_slice(&fifth_bits(quants));
        pack_nibbles(quants, &mut block[6..]);
    }
}
