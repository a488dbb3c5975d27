//! IQ4_NL: 32 elements that are 4-bit indices into a codebook of 16 integers, and one `f16` scale.
//!
//! Layout, 18 bytes: scale (2), nibbles (16; low ones are the first half). Unpacked, elements are
//! codebook entries moved up by 128, not indices.

use super::coding::Codebook;
use super::fields::{exact, exact_mut, field, half_at, pack_nibbles, unpack_nibbles};
use super::search::groups::{Groups, in_order};
use super::search::scaled::{self, Codes};
use super::search::side::Side;
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format IQ4_NL.
#[derive(Debug, Clone, Copy)]
pub struct Iq4Nl;

const _: () = assert!(Iq4Nl::BYTES == 2 + Iq4Nl::ELEMENTS / 2);

/// Entries of the codebook, plus 128.
const CODEBOOK: [u8; 16] = Codebook::Nonlinear.entries();

impl BlockFormat for Iq4Nl {
    const BLOCK_TYPE: BlockType = BlockType::Iq4Nl;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const CODEBOOK: Option<Codebook> = Some(Codebook::Nonlinear);
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = BlockScales::single(half_at(block, 0));
        look_up(&CODEBOOK, field(block, 2), exact_mut(quants));
    }
}

/// Looks 32 nibbles up in `codebook`.
#[inline]
pub(super) fn look_up(codebook: &[u8; 16], packed: &[u8; 16], quants: &mut [u8; 32]) {
    unpack_nibbles(packed, quants);
    for quant in quants {
        *quant = codebook[usize::from(*quant & 0x0F)];
    }
}

/// Looks 32 nibbles up in the codebook that IQ4_NL and IQ4_XS share.
#[inline]
pub(super) fn look_up_shared(packed: &[u8; 16], quants: &mut [u8; 32]) {
    look_up(&CODEBOOK, packed, quants);
}

/// The codebook that IQ4_NL and IQ4_XS share, as codes of `search`.
pub(super) struct SharedCodebook;

impl Codes for SharedCodebook {
    const FARTHEST: f32 = -127.0;
    const STRETCHES: &[f32] = &[
        0.92, 0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06, -0.87, -0.89, -0.91,
    ];

    #[inline(always)]
    fn nearest<const G: usize>(value: Side<G>) -> Side<G> {
        let mut nearest = Side::splat(entry(0));
        for index in 1..16 {
            let border = Side::splat((entry(index - 1) + entry(index)) * 0.5);
            nearest = value.below(border, nearest, Side::splat(entry(index)));
        }
        nearest
    }
}

fn entry(index: usize) -> f32 {
    f32::from(CODEBOOK[index]) - 128.0
}

/// Indices of entries, in the order of the elements.
#[inline(always)]
pub(super) fn indices<const G: usize, const E: usize>(codes: &[Side<G>; E]) -> [u8; 256] {
    let entries = in_order(codes, 128.0);
    entries.map(|entry| INDICES[usize::from(entry)])
}

/// The index of each entry.
const INDICES: [u8; 256] = {
    let mut indices = [0; 256];
    let mut index = 0;
    while index < 16 {
        indices[CODEBOOK[index as usize] as usize] = index;
        index += 1;
    }
    indices
};

/// Eight blocks together; the best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode_eight(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    blocks: &mut [[u8; Iq4Nl::BYTES]; 8],
) {
    *blocks = [[0; Iq4Nl::BYTES]; 8];
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        return;
    };
    let (scales, codes) = scaled::choose_each::<SharedCodebook, 8, 32>(&groups);
    let indices = indices(&codes);
    let indices = indices.as_chunks::<32>().0;
    for ((block, scale), indices) in blocks.iter_mut().zip(scales).zip(indices) {
        block[..2].copy_from_slice(&scale);
        pack_nibbles(indices, &mut block[2..]);
    }
}
