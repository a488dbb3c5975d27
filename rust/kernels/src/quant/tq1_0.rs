//! TQ1_0: 256 elements that are -1, 0 or 1, five to a byte as digits of base three, and one `f16` scale.
//!
//! Layout, 54 bytes: elements (32 bytes with five digits each, 16 with five, 4 with four; digit `n` of byte `l` is
//! element `width * n + l` of its part), scale (2). A byte is a fraction of 256: each digit is what a product by three
//! carries over.

use super::fields::{exact, exact_mut, half_at};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format TQ1_0.
#[derive(Debug, Clone, Copy)]
pub struct Tq1_0;

const _: () = assert!(Tq1_0::BYTES == 32 + 16 + 4 + 2);

/// Bytes and digits of each part of a block.
const PARTS: [(usize, usize); 3] = [(32, 5), (16, 5), (4, 4)];

impl BlockFormat for Tq1_0 {
    const BLOCK_TYPE: BlockType = BlockType::Tq1_0;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 54;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 1;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = BlockScales::single(half_at(block, 52));
        let (mut packed, mut rest) = (&block[..], &mut quants[..]);
        for (width, digits) in PARTS {
            let (bytes, after) = packed.split_at(width);
            let (targets, behind) = rest.split_at_mut(width * digits);
            let mut power = 1_u8;
            for row in targets.chunks_exact_mut(width) {
                for (quant, byte) in row.iter_mut().zip(bytes) {
                    *quant = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
                }
                power = power.wrapping_mul(3);
            }
            (packed, rest) = (after, behind);
        }
    }
}
