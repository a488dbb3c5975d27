//! Q5_K: 256 elements of 5 bits, groups of 32 with a 6-bit scale and a 6-bit minimum.
//!
//! Layout, 176 bytes: bases, scales and minima (16, as in Q4_K), fifth bits (32; bit `j` of byte
//! `l` is element `32j + l`), nibbles (128, as in Q4_K).

use super::fields::{exact, exact_mut, field};
use super::q4_k::{pack_header, pack_paired_nibbles, unpack_header, unpack_paired_nibbles};
use super::search::affine;
use super::search::groups::{Groups, in_order};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q5_K.
#[derive(Debug, Clone, Copy)]
pub struct Q5K;

const _: () = assert!(Q5K::BYTES == 2 + 2 + 12 + Q5K::ELEMENTS / 8 + Q5K::ELEMENTS / 2);

impl BlockFormat for Q5K {
    const BLOCK_TYPE: BlockType = BlockType::Q5K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 176;
    const GROUP: usize = 32;
    const BITS: u32 = 5;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = unpack_header(field(block, 0));
        unpack_paired_nibbles(field(block, 48), quants);
        let fifth_bits: &[u8; 32] = field(block, 16);
        for (j, row) in quants.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (quant, &byte) in row.iter_mut().zip(fifth_bits) {
                *quant |= (byte >> j & 1) << 4;
            }
        }
    }
}

/// The best scales and minima, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Q5K::BYTES],
) {
    *block = [0; Q5K::BYTES];
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        return;
    };
    let chosen = affine::choose(&groups, 31.0, 63.0);
    pack_header(&chosen, exact_mut(&mut block[..16]));
    let quants = in_order(&chosen.codes, 0.0);
    for (j, row) in quants.as_chunks::<32>().0.iter().enumerate() {
        for (byte, quant) in block[16..48].iter_mut().zip(row) {
            *byte |= (quant >> 4) << j;
        }
    }
    pack_paired_nibbles(&quants, exact_mut(&mut block[48..]));
}
