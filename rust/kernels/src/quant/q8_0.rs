//! Q8_0: 32 signed bytes and one `f16` scale.
//!
//! Layout, 34 bytes: scale (2), elements (32). Unpacked, they are moved up by 128.

use super::fields::{exact, exact_mut, field, half_at, write_half};
use super::rounding::{inverse, largest_magnitude, low_bytes};
use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding};

/// The format Q8_0.
#[derive(Debug, Clone, Copy)]
pub struct Q8_0;

const _: () = assert!(Q8_0::BYTES == 2 + Q8_0::ELEMENTS);

impl BlockFormat for Q8_0 {
    const BLOCK_TYPE: BlockType = BlockType::Q8_0;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 34;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = false;

    #[inline]
    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let block: &[u8; Self::BYTES] = exact(block);
        let quants: &mut [u8; Self::ELEMENTS] = exact_mut(quants);
        *scales = BlockScales::single(half_at(block, 0));
        // Flipping the sign bit of a two's complement byte adds 128.
        *quants = field::<32>(block, 2).map(|byte| byte ^ 0x80);
    }
}

/// The value of largest magnitude becomes 127 or -127; halves are rounded away from zero.
#[inline(always)]
pub(super) fn encode(values: &[f32; 32], block: &mut [u8; Q8_0::BYTES]) {
    let scale = largest_magnitude(values).abs() / 127.0;
    let inverse = inverse(scale);
    let quants = low_bytes(values.map(|value| (value * inverse).round()));
    write_half(block, 0, scale);
    block[2..].copy_from_slice(&quants);
}
