//! Super-blocks of 256 with small integer scales: `Q2_K`, `Q3_K`, `Q4_K`, `Q5_K`, `Q6_K`.

use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding, half_at};

/// `d * sc * q - dmin * m`, groups of 16: 16 bytes of nibble pairs (sc, m), 256 pairs of bits, d, dmin.
#[derive(Debug)]
pub struct Q2K;

/// `d * sc * (q - 4)`, groups of 16: 256 high bits, 256 pairs of bits, 16 six-bit scales, d.
#[derive(Debug)]
pub struct Q3K;

/// `d * sc * q - dmin * m`, groups of 32: d, dmin, 8 six-bit pairs (sc, m), 256 nibbles.
#[derive(Debug)]
pub struct Q4K;

/// As `Q4_K`, with 256 fifth bits before the nibbles.
#[derive(Debug)]
pub struct Q5K;

/// `d * sc * (q - 32)`, groups of 16: 256 nibbles, 256 pairs of bits, 16 signed scales, d.
#[derive(Debug)]
pub struct Q6K;

/// The pairs of bits of 64 bytes: each 32 bytes hold 128 values, two bits after two bits.
fn bit_pairs(bytes: &[u8], mut place: impl FnMut(usize, u8)) {
    for (index, byte) in bytes.iter().enumerate() {
        for shift in 0..4 {
            place(
                index / 32 * 128 + shift * 32 + index % 32,
                byte >> (2 * shift) & 3,
            );
        }
    }
}

/// The nibbles of 128 bytes: each 32 bytes hold 32 low ones, then 32 high ones.
fn nibble_runs(bytes: &[u8], quants: &mut [u8]) {
    for (bytes, quants) in bytes.chunks_exact(32).zip(quants.chunks_exact_mut(64)) {
        super::legacy::nibbles(bytes, quants);
    }
}

/// The eight six-bit scales and minimums of `Q4_K` and `Q5_K`.
fn six_bit_pairs(bytes: &[u8], scales: &mut BlockScales) {
    for group in 0..4 {
        let (first, second, third) = (bytes[group], bytes[group + 4], bytes[group + 8]);
        scales.sub[group] = (first & 63).cast_signed();
        scales.sub_minimum[group] = (second & 63).cast_signed();
        scales.sub[group + 4] = (third & 15 | (first >> 6) << 4).cast_signed();
        scales.sub_minimum[group + 4] = (third >> 4 | (second >> 6) << 4).cast_signed();
    }
}

impl BlockFormat for Q2K {
    const BLOCK_TYPE: BlockType = BlockType::Q2K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 84;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        for (group, byte) in block[..16].iter().enumerate() {
            scales.sub[group] = (byte & 15).cast_signed();
            scales.sub_minimum[group] = (byte >> 4).cast_signed();
        }
        bit_pairs(&block[16..80], |index, pair| quants[index] = pair);
        scales.base = half_at(block, 80);
        scales.base_minimum = -half_at(block, 82);
    }
}

impl BlockFormat for Q3K {
    const BLOCK_TYPE: BlockType = BlockType::Q3K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 110;
    const GROUP: usize = 16;
    const BITS: u32 = 4;
    const ZERO: u8 = 4;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        let (high, packed) = (&block[..32], &block[96..108]);
        bit_pairs(&block[32..96], |index, pair| {
            let bit = high[index % 32] >> (index / 32) & 1;
            quants[index] = pair | bit << 2;
        });
        for group in 0..16 {
            let low = packed[group % 8] >> (4 * (group / 8)) & 15;
            let top = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
            scales.sub[group] = (low | top << 4).cast_signed() - 32;
        }
        scales.base = half_at(block, 108);
        scales.base_minimum = 0.0;
    }
}

impl BlockFormat for Q4K {
    const BLOCK_TYPE: BlockType = BlockType::Q4K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 144;
    const GROUP: usize = 32;
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        six_bit_pairs(&block[4..16], scales);
        nibble_runs(&block[16..], quants);
        scales.base = half_at(block, 0);
        scales.base_minimum = -half_at(block, 2);
    }
}

impl BlockFormat for Q5K {
    const BLOCK_TYPE: BlockType = BlockType::Q5K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 176;
    const GROUP: usize = 32;
    const BITS: u32 = 8;
    const ZERO: u8 = 0;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = true;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        six_bit_pairs(&block[4..16], scales);
        nibble_runs(&block[48..], quants);
        let high = &block[16..48];
        for (index, quant) in quants.iter_mut().enumerate() {
            *quant |= (high[index % 32] >> (index / 32) & 1) << 4;
        }
        scales.base = half_at(block, 0);
        scales.base_minimum = -half_at(block, 2);
    }
}

impl BlockFormat for Q6K {
    const BLOCK_TYPE: BlockType = BlockType::Q6K;
    const ELEMENTS: usize = 256;
    const BYTES: usize = 210;
    const GROUP: usize = 16;
    const BITS: u32 = 8;
    const ZERO: u8 = 32;
    const ENCODING: ScaleEncoding = ScaleEncoding::Super;
    const HAS_MINIMUM: bool = false;

    fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
        for (bytes, quants) in block[..128]
            .chunks_exact(64)
            .zip(quants.chunks_exact_mut(128))
        {
            super::legacy::nibbles(bytes, quants);
        }
        bit_pairs(&block[128..192], |index, pair| quants[index] |= pair << 4);
        for (scale, byte) in scales.sub.iter_mut().zip(&block[192..208]) {
            *scale = byte.cast_signed();
        }
        scales.base = half_at(block, 208);
        scales.base_minimum = 0.0;
    }
}
