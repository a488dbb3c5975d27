//! Q2_K: 256 elements of 2 bits, groups of 16 with a 4-bit scale and a 4-bit minimum.
//!
//! Layout, 84 bytes: a byte per group (16; low nibble scale, high nibble minimum), elements (64),
//! base (2), base of the minima (2). In each half, bits `2j` of byte `l` are element `32j + l`.

use super::fields::{exact, exact_mut, field, half_at, negated};
use super::search::affine;
use super::search::groups::{Groups, in_order};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q2_K.
#[derive(Debug, Clone, Copy)]
pub struct Q2K;

const _: () = assert!(Q2K::BYTES == 16 + Q2K::ELEMENTS / 4 + 2 + 2);

impl BlockFormat for Q2K {
    const BLOCK_TYPE: BlockType = BlockType::Q2K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 84;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        let packed_scales: &[u8; 16] = field(block, 0);
        *scales = BlockScales {
            base: half_at(block, 80),
            base_minimum: negated(half_at(block, 82)),
            sub: packed_scales.map(|byte| (byte & 0x0F) as i8),
            sub_minimum: packed_scales.map(|byte| (byte >> 4) as i8),
        };
        unpack_two_bits(field(block, 16), quants);
    }
}

/// The two low bits of 256 elements, as Q2_K and Q3_K store them.
#[inline]
pub(super) fn unpack_two_bits(packed: &[u8; 64], quants: &mut [u8; 256]) {
    let (halves, _) = quants.as_chunks_mut::<128>();
    for (half, packed) in halves.iter_mut().zip(packed.as_chunks::<32>().0) {
        let (rows, _) = half.as_chunks_mut::<32>();
        for (j, row) in rows.iter_mut().enumerate() {
            *row = packed.map(|byte| byte >> (2 * j) & 3);
        }
    }
}

/// The best scales and minima, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Q2K::BYTES],
) {
    *block = [0; Q2K::BYTES];
    let Some(groups) = Groups::<16, 16>::of(values, importance) else {
        return;
    };
    let chosen = affine::choose(&groups, 3.0, 15.0);
    for (byte, (scale, minimum)) in block
        .iter_mut()
        .zip(chosen.scales.into_iter().zip(chosen.minima))
    {
        *byte = scale | minimum << 4;
    }
    pack_two_bits(&in_order(&chosen.codes, 0.0), exact_mut(&mut block[16..80]));
    block[80..].copy_from_slice(chosen.bases.as_flattened());
}

/// The inverse of [`unpack_two_bits`]; bits above the lowest two are dropped.
#[inline(always)]
pub(super) fn pack_two_bits(quants: &[u8; 256], packed: &mut [u8; 64]) {
    for (half, packed) in quants
        .as_chunks::<128>()
        .0
        .iter()
        .zip(packed.as_chunks_mut::<32>().0)
    {
        for (j, row) in half.as_chunks::<32>().0.iter().enumerate() {
            for (byte, quant) in packed.iter_mut().zip(row) {
                *byte |= (quant & 3) << (2 * j);
            }
        }
    }
}
