//! IQ4_NL: 32 elements that are 4-bit indices into a codebook of 16 integers, and one `f16` scale.
//!
//! Layout, 18 bytes: scale (2), nibbles (16; low ones are the first half). Unpacked, elements are
//! codebook entries moved up by 128, not indices.

use super::fields::{exact, exact_mut, field, half_at, unpack_nibbles};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format IQ4_NL.
#[derive(Debug, Clone, Copy)]
pub struct Iq4Nl;

const _: () = assert!(Iq4Nl::BYTES == 2 + Iq4Nl::ELEMENTS / 2);

/// Entries of the codebook, denser around zero, plus 128.
const CODEBOOK: [u8; 16] = moved_up([
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
]);

impl BlockFormat for Iq4Nl {
    const BLOCK_TYPE: BlockType = BlockType::Iq4Nl;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
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

/// Codebook entries as unpacked integers, which are not negative.
pub(super) const fn moved_up(codebook: [i8; 16]) -> [u8; 16] {
    let mut moved = [0; 16];
    let mut index = 0;
    while index < 16 {
        moved[index] = (codebook[index] as i16 + 128) as u8;
        index += 1;
    }
    moved
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
