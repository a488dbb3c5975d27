//! Q3_K: 256 elements of 3 bits around 4, groups of 16 with a 6-bit scale around 32.
//!
//! Layout, 110 bytes: third bits (32; bit `j` of byte `l` is element `32j + l`), lower bits (64, as
//! in Q2_K), scales (12: low nibbles of groups 0..8 and 8..16 in eight bytes, then the upper two
//! bits of group `4j + k` at bits `2j` of byte `8 + k`), base (2).

use super::fields::{exact, exact_mut, field, half_at};
use super::q2_k::{pack_two_bits, unpack_two_bits};
use super::search::groups::{Groups, in_order};
use super::search::scaled::{self, Whole};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q3_K.
#[derive(Debug, Clone, Copy)]
pub struct Q3K;

const _: () = assert!(Q3K::BYTES == Q3K::ELEMENTS / 8 + Q3K::ELEMENTS / 4 + 12 + 2);

impl BlockFormat for Q3K {
    const BLOCK_TYPE: BlockType = BlockType::Q3K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 110;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 4;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = BlockScales {
            base: half_at(block, 108),
            base_minimum: 0.0,
            sub: unpack_scales(field(block, 96)),
            sub_minimum: [0; 16],
        };
        unpack_two_bits(field(block, 32), quants);
        let third_bits: &[u8; 32] = field(block, 0);
        for (j, row) in quants.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (quant, &byte) in row.iter_mut().zip(third_bits) {
                *quant |= (byte >> j & 1) << 2;
            }
        }
    }
}

#[inline]
fn unpack_scales(packed: &[u8; 12]) -> [i8; 16] {
    std::array::from_fn(|group| {
        let low = packed[group % 8] >> (4 * (group / 8)) & 0x0F;
        let high = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
        (low | high << 4) as i8 - 32
    })
}

/// The best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Q3K::BYTES],
) {
    *block = [0; Q3K::BYTES];
    let Some(groups) = Groups::<16, 16>::of(values, importance) else {
        return;
    };
    let chosen = scaled::choose::<Whole<4>, 16, 16>(&groups, 32.0);
    let quants = in_order(&chosen.codes, 4.0);
    for (j, row) in quants.as_chunks::<32>().0.iter().enumerate() {
        for (byte, quant) in block.iter_mut().zip(row) {
            *byte |= (quant >> 2) << j;
        }
    }
    pack_two_bits(&quants, exact_mut(&mut block[32..96]));
    pack_scales(&chosen.scales, exact_mut(&mut block[96..108]));
    block[108..].copy_from_slice(&chosen.base);
}

/// The inverse of [`unpack_scales`].
#[inline(always)]
fn pack_scales(scales: &[i8; 16], packed: &mut [u8; 12]) {
    for (group, scale) in scales.iter().enumerate() {
        let bits = (scale + 32) as u8;
        packed[group % 8] |= (bits & 0x0F) << (4 * (group / 8));
        packed[8 + group % 4] |= (bits >> 4) << (2 * (group / 4));
    }
}
