//! Rotary embedding in halves: dimension `i` turns with dimension `i + n/2`.

use crate::simd::{Lanes, vectors, vectors_mut};

/// Rotates the first `2 * cosines.len()` dimensions of one head, which has both halves; `sines` is as long as `cosines`.
#[inline(always)]
pub(crate) fn rotate<L: Lanes>(lanes: L, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (low, rest) = head.split_at_mut(cosines.len());
    let (lows, last_low) = vectors_mut::<L>(low);
    let (highs, last_high) = vectors_mut::<L>(&mut rest[..cosines.len()]);
    let (cosines, last_cosines) = vectors::<L>(cosines);
    let (sines, last_sines) = vectors::<L>(sines);
    for ((low, high), angles) in lows.zip(highs).zip(cosines.zip(sines)) {
        rotate_vector(lanes, (low, high), angles);
    }
    rotate_vector(lanes, (last_low, last_high), (last_cosines, last_sines));
}

#[inline(always)]
fn rotate_vector<L: Lanes>(
    lanes: L,
    (low, high): (&mut [f32], &mut [f32]),
    (cosines, sines): (&[f32], &[f32]),
) {
    let (x, y) = (lanes.load_up_to(low), lanes.load_up_to(high));
    let (cosine, sine) = (lanes.load_up_to(cosines), lanes.load_up_to(sines));
    lanes.store_up_to(low, lanes.sub(lanes.mul(x, cosine), lanes.mul(y, sine)));
    lanes.store_up_to(high, lanes.fma(y, cosine, lanes.mul(x, sine)));
}
