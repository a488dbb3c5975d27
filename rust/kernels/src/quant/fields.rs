//! Reading the fields of a block: byte ranges of known size, `f16` scales, nibbles.
//!
//! Everything works on arrays of constant size, so that inner loops carry no bounds checks.

use half::f16;

/// A slice as an array; its length is a promise of the caller of `BlockFormat`.
#[inline]
pub(super) fn exact<const N: usize>(slice: &[u8]) -> &[u8; N] {
    slice.try_into().expect("slice is one block")
}

/// As [`exact`], to write to.
#[inline]
pub(super) fn exact_mut<const N: usize>(slice: &mut [u8]) -> &mut [u8; N] {
    slice.try_into().expect("slice is one block")
}

/// The field of `N` bytes that begins at `offset`.
#[inline]
pub(super) fn field<const N: usize>(block: &[u8], offset: usize) -> &[u8; N] {
    exact(&block[offset..offset + N])
}

/// The `f16` at `offset`, little-endian, as `f32` (which is exact).
#[inline]
pub(super) fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes(*field(block, offset)).to_f32()
}

/// Writes `value` at `offset` as `f16`, to nearest even.
#[inline]
pub(super) fn write_half(block: &mut [u8], offset: usize, value: f32) {
    block[offset..offset + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// `-value`, except that a NaN keeps its sign: `x - nan` and `x + negated(nan)` are then the same.
#[inline]
pub(super) fn negated(value: f32) -> f32 {
    if value.is_nan() { value } else { -value }
}

/// Nibbles of 32 elements: low ones are elements 0..16, high ones 16..32.
#[inline]
pub(super) fn unpack_nibbles(packed: &[u8; 16], quants: &mut [u8; 32]) {
    let (low, high) = quants.split_at_mut(16);
    for ((low, high), &byte) in low.iter_mut().zip(high).zip(packed) {
        *low = byte & 0x0F;
        *high = byte >> 4;
    }
}

/// The inverse of [`unpack_nibbles`]; bits above the lowest four are dropped.
#[inline]
pub(super) fn pack_nibbles(quants: &[u8; 32], packed: &mut [u8]) {
    let (low, high) = quants.split_at(16);
    for ((byte, &low), &high) in packed.iter_mut().zip(low).zip(high) {
        *byte = (low & 0x0F) | (high << 4);
    }
}

/// Puts bit `i` of the little-endian `high` at bit 4 of `quants[i]`.
#[inline]
pub(super) fn add_fifth_bits(high: [u8; 4], quants: &mut [u8; 32]) {
    let (groups, _) = quants.as_chunks_mut::<8>();
    for (group, byte) in groups.iter_mut().zip(high) {
        for (bit, quant) in group.iter_mut().enumerate() {
            *quant |= (byte >> bit & 1) << 4;
        }
    }
}

/// Bit 4 of every element, element `i` at bit `i`, little-endian.
#[inline]
pub(super) fn fifth_bits(quants: &[u8; 32]) -> [u8; 4] {
    let bits = quants.iter().enumerate();
    bits.fold(0_u32, |bits, (index, &quant)| {
        bits | u32::from(quant >> 4 & 1) << index
    })
    .to_le_bytes()
}
