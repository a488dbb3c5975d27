//! Nibbles that index a table of values: `IQ4_NL`, `IQ4_XS`, `MXFP4`.

use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding, half_at, legacy::nibbles};

/// The values of `IQ4_NL` and `IQ4_XS`: denser around zero.
const NON_LINEAR: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];
/// Twice the values of the 4-bit float e2m1.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `d * table[q]`: f16 d, 32 nibbles.
#[derive(Debug)]
pub struct Iq4Nl;

/// `d * sc * table[q]`, groups of 32: f16 d, eight six-bit scales, 256 nibbles.
#[derive(Debug)]
pub struct Iq4Xs;

/// `2^(e - 128) * table[q]`: an exponent byte, 32 nibbles.
#[derive(Debug)]
pub struct Mxfp4;

/// Replaces each index by its value, 128 added.
fn look_up(table: &[i8; 16], quants: &mut [u8]) {
    for quant in quants {
        *quant = table[usize::from(*quant & 15)].cast_unsigned() ^ 0x80;
    }
}

impl BlockFormat for Iq4Nl {
    const BLOCK_TYPE: BlockType = BlockType::Iq4Nl;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 18;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Half;
    const HAS_MINIMUM: bool = false;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        *scales = BlockScales::single(half_at(block, 0), 0.0);
        nibbles(&block[2..], quants);
        look_up(&NON_LINEAR, quants);
    }
}

impl BlockFormat for Iq4Xs {
    const BLOCK_TYPE: BlockType = BlockType::Iq4Xs;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 136;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let high = u16::from_le_bytes([block[2], block[3]]);
        for group in 0..8 {
            let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
            let top = (high >> (2 * group) & 3) as u8;
            scales.sub[group] = (low | top << 4).cast_signed() - 32;
        }
        scales.base = half_at(block, 0);
        scales.base_minimum = 0.0;
        for (bytes, quants) in block[8..].chunks_exact(16).zip(quants.chunks_exact_mut(32)) {
            nibbles(bytes, quants);
        }
        look_up(&NON_LINEAR, quants);
    }
}

impl BlockFormat for Mxfp4 {
    const BLOCK_TYPE: BlockType = BlockType::Mxfp4;
    const ELEMENTS: usize = 32;
    const BYTES: usize = 17;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
    const ZERO: u8 = 128;
    const ENCODING: ScaleEncoding = ScaleEncoding::Single;
    const HAS_MINIMUM: bool = false;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        // 2^(e - 127) / 2; the two smallest are subnormal.
        let bits = match block[0] {
            exponent @ 0..2 => 0x0020_0000 << exponent,
            exponent => u32::from(exponent - 1) << 23,
        };
        *scales = BlockScales::single(f32::from_bits(bits), 0.0);
        nibbles(&block[1..], quants);
        look_up(&E2M1, quants);
    }
}
