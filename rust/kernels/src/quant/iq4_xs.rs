//! IQ4_XS: 256 indices into the codebook of IQ4_NL, groups of 32 with a 6-bit scale around 32.
//!
//! Layout, 136 bytes: base (2), upper two bits of the scales (2; group `g` at bit `2g`), their low
//! nibbles (4; groups `2k` low and `2k + 1` high), elements (128; each group as in IQ4_NL).

use super::coding::Codebook;
use super::fields::{exact, exact_mut, field, half_at, pack_nibbles};
use super::iq4_nl::{SharedCodebook, indices, look_up_shared};
use super::search::groups::Groups;
use super::search::scaled;
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format IQ4_XS.
#[derive(Debug, Clone, Copy)]
pub struct Iq4Xs;

const _: () = assert!(Iq4Xs::BYTES == 2 + 2 + 4 + Iq4Xs::ELEMENTS / 2);

impl BlockFormat for Iq4Xs {
    const BLOCK_TYPE: BlockType = BlockType::Iq4Xs;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 136;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const CODEBOOK: Option<Codebook> = Some(Codebook::Nonlinear);
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = BlockScales {
            base: half_at(block, 0),
            ..BlockScales::default()
        };
        let high = u16::from_le_bytes(*field(block, 2));
        let low = u32::from_le_bytes(*field(block, 4));
        for (group, sub) in scales.sub.iter_mut().take(8).enumerate() {
            let low = (low >> (4 * group) & 0x0F) as i8;
            let high = (high >> (2 * group) & 3) as i8;
            *sub = (low | high << 4) - 32;
        }
        let packed = field::<128>(block, 8).as_chunks::<16>().0;
        for (quants, packed) in quants.as_chunks_mut::<32>().0.iter_mut().zip(packed) {
            look_up_shared(packed, quants);
        }
    }
}

/// The best scales, as `search` finds them.
#[inline(always)]
pub(super) fn encode(
    values: &[f32; 256],
    importance: Option<&[f32; 256]>,
    block: &mut [u8; Iq4Xs::BYTES],
) {
    *block = [0; Iq4Xs::BYTES];
    let Some(groups) = Groups::<8, 32>::of(values, importance) else {
        return;
    };
    let chosen = scaled::choose::<SharedCodebook, 8, 32>(&groups, 32.0);
    let (mut high, mut low) = (0_u16, 0_u32);
    for (group, scale) in chosen.scales.iter().enumerate() {
        let bits = (scale + 32) as u8;
        high |= u16::from(bits >> 4) << (2 * group);
        low |= u32::from(bits & 0x0F) << (4 * group);
    }
    block[..2].copy_from_slice(&chosen.base);
    block[2..4].copy_from_slice(&high.to_le_bytes());
    block[4..8].copy_from_slice(&low.to_le_bytes());
    let indices = indices(&chosen.codes);
    let packed = block[8..].as_chunks_mut::<16>().0;
    for (packed, indices) in packed.iter_mut().zip(indices.as_chunks::<32>().0) {
        pack_nibbles(indices, packed);
    }
}
