//! From scores to weights: what of a row is masked, its maximum, its softmax under that.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use super::layout::{BLOCK_TOKENS, Side};
use super::segment::Segment;
use super::stored::Stored;
use crate::simd::{Lanes, exp2, tanh};

/// The scores of what a row sees, and 0 for what it does not; the highest one by lane.
///
/// # Safety
///
/// `weights` is a row of scratch memory, with a place for every position of a segment.
#[inline(always)]
pub(super) unsafe fn mask<L: Lanes>(
    lanes: L,
    weights: *mut f32,
    blocks: &Range<usize>,
    seen: &Range<usize>,
    cap: Option<f32>,
) -> L::Vector {
    let (begin, end) = (blocks.start * BLOCK_TOKENS, blocks.end * BLOCK_TOKENS);
    // SAFETY: whole vectors around what is seen lie in the blocks, since a vector divides one, and these in the row.
    unsafe {
        let mut highest = lanes.splat(f32::NEG_INFINITY);
        if seen.is_empty() {
            fill_zero(lanes, weights, begin, end);
            return highest;
        }
        let (first, last) = whole_vectors::<L>(seen);
        fill_zero(lanes, weights, begin, first);
        fill_zero(lanes, weights, last, end);
        if let Some(cap) = cap {
            for position in (first..last).step_by(L::WIDTH) {
                let score = tanh(lanes, lanes.load(weights.add(position)));
                lanes.store(
                    weights.add(position),
                    lanes.mul(score, lanes.splat(cap * LOG2_E)),
                );
            }
        }
        if first < seen.start {
            let score = lanes.load(weights.add(first));
            let score = lanes.mask_range(score, seen.start - first, L::WIDTH);
            lanes.store(weights.add(first), score);
        }
        if seen.end < last {
            let score = lanes.load(weights.add(last - L::WIDTH));
            let score = lanes.mask_range(score, 0, seen.end + L::WIDTH - last);
            lanes.store(weights.add(last - L::WIDTH), score);
        }
        for position in (first..last).step_by(L::WIDTH) {
            highest = lanes.max(highest, lanes.load(weights.add(position)));
        }
        highest
    }
}

/// What is known of a row of weights, by lane.
#[derive(Clone, Copy)]
pub(super) struct Softened<V> {
    /// The sum of the weights.
    pub(super) sum: V,
    /// The largest one that is kept, and their sum; both 0 where weights are kept as they are.
    pub(super) largest: V,
    pub(super) total: V,
}

impl<V: Copy> Softened<V> {
    /// Of no weights.
    #[inline(always)]
    pub(super) fn none<L: Lanes<Vector = V>>(lanes: L) -> Self {
        let zero = lanes.splat(0.0);
        Self {
            sum: zero,
            largest: zero,
            total: zero,
        }
    }
}

/// Turns the scores of what a row sees into weights under their maximum.
/// What is kept of a weight is its product with the scale of its value.
///
/// # Safety
///
/// As [`mask`].
#[inline(always)]
pub(super) unsafe fn soften<L: Lanes, S: Stored>(
    lanes: L,
    segment: &Segment<'_, S>,
    (weights, seen): (*mut f32, &Range<usize>),
    maximum: f32,
) -> Softened<L::Vector> {
    let (first, last) = whole_vectors::<L>(seen);
    let mut softened = Softened::none(lanes);
    if seen.is_empty() {
        return softened;
    }
    // SAFETY: whole vectors around what is seen lie in the row, and their scales in the block of their first token.
    unsafe {
        for position in (first..last).step_by(L::WIDTH) {
            let score = lanes.load(weights.add(position));
            let weight = exp2(lanes, lanes.sub(score, lanes.splat(maximum)));
            softened.sum = lanes.add(softened.sum, weight);
            if !S::HAS_SCALES {
                lanes.store(weights.add(position), weight);
                continue;
            }
            let place = (position / BLOCK_TOKENS, position % BLOCK_TOKENS);
            let scales = lanes.load(segment.scales(place.0, Side::Value, place.1));
            // What is not seen has weight 0 and whatever scale stood there before.
            let kept = lanes.mul(weight, scales);
            let kept = lanes.keep_from(weight, lanes.splat(f32::MIN_POSITIVE), kept);
            softened.largest = lanes.max(softened.largest, kept);
            softened.total = lanes.add(softened.total, kept);
            lanes.store(weights.add(position), kept);
        }
    }
    softened
}

/// Where the vectors that hold some positions begin and end.
#[inline(always)]
fn whole_vectors<L: Lanes>(seen: &Range<usize>) -> (usize, usize) {
    (
        seen.start / L::WIDTH * L::WIDTH,
        seen.end.next_multiple_of(L::WIDTH),
    )
}

/// Whole vectors of 0.
///
/// # Safety
///
/// As [`mask`]; `begin` and `end` are whole vectors of a segment.
#[inline(always)]
unsafe fn fill_zero<L: Lanes>(lanes: L, weights: *mut f32, begin: usize, end: usize) {
    for position in (begin..end).step_by(L::WIDTH) {
        // SAFETY: a whole vector before `end`, which lies in the row.
        unsafe { lanes.store(weights.add(position), lanes.splat(0.0)) };
    }
}
