//! Blocks of 32 with one f16 scale: `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, `Q8_0`.

use super::{BlockFormat, BlockScales, BlockType, ScaleEncoding, half_at};

/// 16 low nibbles, then the 16 high ones.
pub(super) fn nibbles(bytes: &[u8], quants: &mut [u8]) {
    let (low, high) = quants.split_at_mut(bytes.len());
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// Sets bit 4 of each integer from 32 bits.
fn fifth_bits(bytes: &[u8], quants: &mut [u8]) {
    for (index, quant) in quants.iter_mut().enumerate() {
        *quant |= (bytes[index / 8] >> (index % 8) & 1) << 4;
    }
}

macro_rules! block_of_32 {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $bits:literal, $zero:literal, $minimum:literal, $unpack:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl BlockFormat for $name {
            const BLOCK_TYPE: BlockType = BlockType::$name;
            const ELEMENTS: usize = 32;
            const BYTES: usize = $bytes;
            const GROUP: usize = 32;
            const BITS: u32 = $bits;
            const ZERO: u8 = $zero;
            const ENCODING: ScaleEncoding = ScaleEncoding::Half;
            const HAS_MINIMUM: bool = $minimum;

            fn unpack(block: &[u8], quants: &mut [u8], scales: &mut BlockScales) {
                let minimum = if $minimum { half_at(block, 2) } else { 0.0 };
                *scales = BlockScales::single(half_at(block, 0), minimum);
                let unpack: fn(&[u8], &mut [u8]) = $unpack;
                unpack(&block[if $minimum { 4 } else { 2 }..], quants);
            }
        }
    };
}

block_of_32!(
    /// `d * (q - 8)`: f16 d, 32 nibbles.
    Q4_0, 18, 4, 8, false, nibbles
);
block_of_32!(
    /// `d * q + m`: f16 d, f16 m, 32 nibbles.
    Q4_1, 20, 4, 0, true, nibbles
);
block_of_32!(
    /// `d * (q - 16)`: f16 d, 32 fifth bits, 32 nibbles.
    Q5_0, 22, 8, 16, false, |bytes, quants| {
        nibbles(&bytes[4..], quants);
        fifth_bits(&bytes[..4], quants);
    }
);
block_of_32!(
    /// `d * q + m`: f16 d, f16 m, 32 fifth bits, 32 nibbles.
    Q5_1, 24, 8, 0, true, |bytes, quants| {
        nibbles(&bytes[4..], quants);
        fifth_bits(&bytes[..4], quants);
    }
);
block_of_32!(
    /// `d * q`: f16 d, 32 signed bytes, seen here with 128 added.
    Q8_0, 34, 8, 128, false, |bytes, quants| {
        for (byte, quant) in bytes.iter().zip(quants) {
            *quant = byte ^ 0x80;
        }
    }
);
