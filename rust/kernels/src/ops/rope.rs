//! Rotary embedding in halves: dimension `i` turns with dimension `i + n/2`.

use crate::simd::Lanes;

/// Rotates the first `2 * cosines.len()` dimensions of one head, which has both halves; `sines` is as long as `cosines`.
#[inline(always)]
pub(crate) fn rotate<L: Lanes>(lanes: L, head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (low, rest) = head.split_at_mut(cosines.len());
    let high = &mut rest[..cosines.len()];
    let angles = cosines.chunks(L::WIDTH).zip(sines.chunks(L::WIDTH));
    let halves = low.chunks_mut(L::WIDTH).zip(high.chunks_mut(L::WIDTH));
    for ((low, high), (cosines, sines)) in halves.zip(angles) {
        let (x, y) = (lanes.load_up_to(low), lanes.load_up_to(high));
        let (cosine, sine) = (lanes.load_up_to(cosines), lanes.load_up_to(sines));
        lanes.store_up_to(low, lanes.sub(lanes.mul(x, cosine), lanes.mul(y, sine)));
        lanes.store_up_to(high, lanes.fma(y, cosine, lanes.mul(x, sine)));
    }
}
