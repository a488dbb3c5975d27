//! Q3_K: 256 elements of 3 bits around 4, groups of 16 with a 6-bit scale around 32.
//!
//! Layout, 110 bytes: third bits (32; bit `j` of byte `l` is element `32j + l`), lower bits (64, as
//! in Q2_K), scales (12: low nibbles of groups 0..8 and 8..16 in eight bytes, then the upper two
//! bits of group `4j + k` at bits `2j` of byte `8 + k`), base (2).

use super::fields::{exact, exact_mut, field, half_at};
use super::q2_k::unpack_two_bits;
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
