//! Rotary embedding in halves: dimension `i` turns with dimension `i + n/2`.

use crate::simd::Lanes;

/// Rotates the first `2 * cosines.len()` dimensions of one head.
///
/// # Safety
///
/// Needs the instruction set of `L`; `head` holds both halves, `sines` is as long as `cosines`.
#[inline(always)]
pub(crate) unsafe fn rotate<L: Lanes>(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    // SAFETY: partial loads and stores keep to each half.
    unsafe {
        for begin in (0..half).step_by(L::WIDTH) {
            let count = half - begin;
            let low = head.as_mut_ptr().add(begin);
            let high = low.add(half);
            let (x, y) = (L::load_partial(low, count), L::load_partial(high, count));
            let cosine = L::load_partial(cosines.as_ptr().add(begin), count);
            let sine = L::load_partial(sines.as_ptr().add(begin), count);
            L::store_partial(low, L::sub(L::mul(x, cosine), L::mul(y, sine)), count);
            L::store_partial(high, L::fma(y, cosine, L::mul(x, sine)), count);
        }
    }
}
