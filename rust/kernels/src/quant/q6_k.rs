//! Q6_K: 256 elements of 6 bits around 32, groups of 16 with an 8-bit signed scale.
//!
//! Layout, 210 bytes: lower nibbles (128), upper bits (64), scales (16), base (2). In each half,
//! element `32j + l` has its nibble in byte `32(j % 2) + l`, low for `j < 2`, and its upper bits at
//! bits `2j` of byte `l`.

use super::fields::{exact, exact_mut, field, half_at};
use super::search::groups::{Groups, in_order};
use super::search::scaled::{self, Whole};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q6_K.
#[derive(Debug, Clone, Copy)]
pub struct Q6K;

const _: () = assert!(Q6K::BYTES == Q6K::ELEMENTS / 2 + Q6K::ELEMENTS / 4 + 16 + 2);

impl BlockFormat for Q6K {
    const BLOCK_TYPE: BlockType = BlockType::Q6K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 210;
    const GROUP: usize = 16;
    const BITS: u32 = 6;
    const ZERO: u8 = 32;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = BlockScales {
            base: half_at(block, 208),
            base_minimum: 0.0,
            sub: field::<16>(block, 192).map(|byte| byte as i8),
            sub_minimum: [0; 16],
        };
        let lower = field::<128>(block, 0).as_chunks::<64>().0;
        let upper = field::<64>(block, 128).as_chunks::<32>().0;
        let (halves, _) = quants.as_chunks_mut::<128>();
        for ((half, lower), upper) in halves.iter_mut().zip(lower).zip(upper) {
            unpack_half(lower, upper, half);
        }
    }
}

#[inline]
fn unpack_half(lower: &[u8; 64], upper: &[u8; 32], quants: &mut [u8; 128]) {
    let (rows, _) = quants.as_chunks_mut::<32>();
    for (j, row) in rows.iter_mut().enumerate() {
        let nibbles: &[u8; 32] = field(lower, 32 * (j % 2));
        for ((quant, &nibble), &bits) in row.iter_mut().zip(nibbles).zip(upper) {
            *quant = nibble >> (4 * (j / 2)) & 0x0F | (bits >> (2 * j) & 3) << 4;
        }
    }
}

/// The best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Q6K::BYTES],
) {
    *block = [0; Q6K::BYTES];
    let Some(groups) = Groups::<16, 16>::of(values, importance) else {
        return;
    };
    let chosen = scaled::choose::<Whole<32>, 16, 16>(&groups, 128.0);
    let quants = in_order(&chosen.codes, 32.0);
    let (lower, rest) = block.split_at_mut(128);
    let (upper, rest) = rest.split_at_mut(64);
    let halves = quants.as_chunks::<128>().0.iter();
    let packed = lower
        .as_chunks_mut()
        .0
        .iter_mut()
        .zip(upper.as_chunks_mut().0);
    for (half, (lower, upper)) in halves.zip(packed) {
        pack_half(half, lower, upper);
    }
    for (byte, scale) in rest.iter_mut().zip(chosen.scales) {
        *byte = scale as u8;
    }
    rest[16..].copy_from_slice(&chosen.base);
}

/// The inverse of [`unpack_half`].
#[inline(always)]
fn pack_half(quants: &[u8; 128], lower: &mut [u8; 64], upper: &mut [u8; 32]) {
    for (j, row) in quants.as_chunks::<32>().0.iter().enumerate() {
        let nibbles = &mut lower[32 * (j % 2)..][..32];
        for ((&quant, nibble), bits) in row.iter().zip(nibbles).zip(upper.iter_mut()) {
            *nibble |= (quant & 0x0F) << (4 * (j / 2));
            *bits |= (quant >> 4) << (2 * j);
        }
    }
}
