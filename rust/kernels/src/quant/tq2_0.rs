//! TQ2_0: 256 elements that are -1, 0 or 1, two bits each, and one `f16` scale.
//!
//! Layout, 66 bytes: elements (64; in each half of 32 bytes, bits `2j` of byte `l` are element `32j + l`), scale (2).

use super::fields::{exact, exact_mut, field, half_at};
use super::q2_k::unpack_two_bits;
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format TQ2_0.
#[derive(Debug, Clone, Copy)]
pub struct Tq2_0;

const _: () = assert!(Tq2_0::BYTES == Tq2_0::ELEMENTS / 4 + 2);

impl BlockFormat for Tq2_0 {
    const BLOCK_TYPE: BlockType = BlockType::Tq2_0;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 66;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 1;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        *scales = BlockScales::single(half_at(block, 64));
        unpack_two_bits(field(block, 0), exact_mut(quants));
    }
}
