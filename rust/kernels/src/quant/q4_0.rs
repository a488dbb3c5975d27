//! Q4_0: 32 elements of 4 bits around 8, and one `f16` scale.
//!
//! Layout, 18 bytes: scale (2), nibbles (16; low ones are the first half).

use super::fields::{exact, exact_mut, field, half_at, pack_nibbles, unpack_nibbles, write_half};
use super::rounding::{inverse, largest_magnitude, low_bytes};
use super::search::groups::{Groups, in_order};
use super::search::scaled::{self, Whole};
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

/// Eight blocks together, where it is known what errors count: the best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode_eight(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    blocks: &mut [[u8; Q4_0::BYTES]; 8],
) {
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        // Whatever a code is, a scale of zero makes it zero.
        *blocks = [[0; Q4_0::BYTES]; 8];
        return;
    };
    let (scales, codes) = scaled::choose_each::<Whole<8>, 8, 32>(&groups);
    let quants = in_order(&codes, 8.0);
    let quants = quants.as_chunks::<32>().0;
    for ((block, scale), quants) in blocks.iter_mut().zip(scales).zip(quants) {
        block[..2].copy_from_slice(&scale);
        pack_nibbles(quants, &mut block[2..]);
    }
}
