//! Q4_K: 256 elements of 4 bits, groups of 32 with a 6-bit scale and a 6-bit minimum.
//!
//! Layout, 144 bytes: base (2), base of the minima (2), scales and minima (12), nibbles (128). In
//! each quarter, low nibbles are the first 32 elements and high ones the next. A minimum is
//! subtracted, so `base_minimum` is the stored base negated.

use super::fields::{exact, exact_mut, field, half_at, negated};
use super::search::affine::{self, Affine};
use super::search::groups::{Groups, in_order};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q4_K.
#[derive(Debug, Clone, Copy)]
pub struct Q4K;

const _: () = assert!(Q4K::BYTES == 2 + 2 + 12 + Q4K::ELEMENTS / 2);

impl BlockFormat for Q4K {
    const BLOCK_TYPE: BlockType = BlockType::Q4K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 144;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = unpack_header(field(block, 0));
        unpack_paired_nibbles(field(block, 16), exact_mut(quants));
    }
}

/// Bases, scales and minima of Q4_K and Q5_K.
///
/// Of the 12 bytes, groups 0..4 have their scales in the low six bits of bytes 0..4 and their
/// minima in those of bytes 4..8. Groups 4..8 have the low nibbles of both in bytes 8..12 (scale
/// low, minimum high) and their upper two bits at the top of bytes 0..8.
#[inline]
pub(super) fn unpack_header(header: &[u8; 16]) -> BlockScales {
    let mut scales = BlockScales {
        base: half_at(header, 0),
        base_minimum: negated(half_at(header, 2)),
        ..BlockScales::default()
    };
    let packed: &[u8; 12] = field(header, 4);
    for group in 0..4 {
        let (scale, minimum, both) = (packed[group], packed[4 + group], packed[8 + group]);
        scales.sub[group] = (scale & 0x3F) as i8;
        scales.sub_minimum[group] = (minimum & 0x3F) as i8;
        scales.sub[4 + group] = (both & 0x0F | scale >> 2 & 0x30) as i8;
        scales.sub_minimum[4 + group] = (both >> 4 | minimum >> 2 & 0x30) as i8;
    }
    scales
}

/// Nibbles of 256 elements, each 32 bytes holding 32 elements low and the next 32 high.
#[inline]
pub(super) fn unpack_paired_nibbles(packed: &[u8; 128], quants: &mut [u8; 256]) {
    let (quarters, _) = quants.as_chunks_mut::<64>();
    for (quarter, packed) in quarters.iter_mut().zip(packed.as_chunks::<32>().0) {
        let (low, high) = quarter.split_at_mut(32);
        for ((low, high), &byte) in low.iter_mut().zip(high).zip(packed) {
            *low = byte & 0x0F;
            *high = byte >> 4;
        }
    }
}

/// The best scales and minima, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Q4K::BYTES],
) {
    *block = [0; Q4K::BYTES];
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        return;
    };
    let chosen = affine::choose(&groups, 15.0, 63.0);
    pack_header(&chosen, exact_mut(&mut block[..16]));
    pack_paired_nibbles(&in_order(&chosen.codes, 0.0), exact_mut(&mut block[16..]));
}

/// The inverse of [`unpack_header`].
#[inline(always)]
pub(super) fn pack_header(chosen: &Affine<8, 32>, header: &mut [u8; 16]) {
    header[..4].copy_from_slice(chosen.bases.as_flattened());
    let packed: &mut [u8; 12] = exact_mut(&mut header[4..]);
    for group in 0..4 {
        let (scale, minimum) = (chosen.scales[4 + group], chosen.minima[4 + group]);
        packed[group] = chosen.scales[group] | scale >> 4 << 6;
        packed[4 + group] = chosen.minima[group] | minimum >> 4 << 6;
        packed[8 + group] = scale & 0x0F | minimum << 4;
    }
}

/// The inverse of [`unpack_paired_nibbles`]; bits above the lowest four are dropped.
#[inline(always)]
pub(super) fn pack_paired_nibbles(quants: &[u8; 256], packed: &mut [u8; 128]) {
    for (quarter, packed) in quants
        .as_chunks::<64>()
        .0
        .iter()
        .zip(packed.as_chunks_mut::<32>().0)
    {
        let (low, high) = quarter.split_at(32);
        for ((byte, &low), &high) in packed.iter_mut().zip(low).zip(high) {
            *byte = (low & 0x0F) | high << 4;
        }
    }
}
