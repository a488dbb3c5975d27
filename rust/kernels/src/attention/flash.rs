//! Flash-style attention over KV blocks: a segment at a time, with scores of a few rows in cache.
//!
//! Query rows (tokens times the heads that share the KV head) go through a segment up to six
//! together: scores of the segment, softmax under its maximum, weighted values. A key or value is
//! loaded and widened once for all of them. What a row computes does not depend on the rows beside
//! it: a position that it does not see has weight 0, and a segment of which it sees nothing leaves
//! it untouched.

use std::ops::Range;

use super::join::Gathered;
use super::memory::{Panels, Scratch, Segment};
use super::product::Stored;
use super::setting::{QUERY_ROWS, Setting};
use super::storage::KvData;
use super::tile::{Walk, tile};
use crate::simd::Lanes;

/// Where it goes what the segments hold.
pub(crate) enum Target<'a, 'b> {
    /// All of them joined.
    Joined(&'a mut Gathered<'b>),
    /// Each for itself, one behind the other.
    Parts(&'b mut [f32]),
}

/// Gathers what consecutive segments hold for every query row.
///
/// # Safety
///
/// Needs the instruction set of `L`; the task was checked and `target` has a row for each of its.
#[inline(always)]
pub(crate) unsafe fn gather<L: Lanes>(
    setting: Setting<'_>,
    segments: Range<usize>,
    target: Target<'_, '_>,
) {
    // SAFETY: the caller's.
    unsafe {
        match setting.kv.data {
            KvData::F32(data) => gather_stored::<L, f32>(data, setting, segments, target),
            KvData::F16(data) => gather_stored::<L, u16>(data, setting, segments, target),
            KvData::I8(data) => gather_stored::<L, i8>(data, setting, segments, target),
        }
    }
}

#[inline(always)]
unsafe fn gather_stored<L: Lanes, S: Stored>(
    data: &[S],
    setting: Setting<'_>,
    segments: Range<usize>,
    mut target: Target<'_, '_>,
) {
    let dimensions = setting.dimensions;
    let panels = Panels::new(data, setting, segments.clone());
    let mut ahead = panels.ahead();
    let scratch = Scratch::new(setting);
    let mut first_panel = 0;
    for index in segments {
        let mut walk = Walk {
            setting,
            segment: Segment::take((&panels, &mut first_panel), setting, index),
            ahead: Some(&mut ahead),
        };
        let mut part;
        let gathered = match &mut target {
            Target::Joined(gathered) => gathered,
            Target::Parts(parts) => {
                let (own, rest) = std::mem::take(parts).split_at_mut(dimensions.part_length());
                *parts = rest;
                part = Gathered::part(own, dimensions);
                &mut part
            }
        };
        let mut row = 0;
        while row < dimensions.rows() {
            // SAFETY: the caller's; the tiles cover rows of the task.
            unsafe {
                match dimensions.rows() - row {
                    QUERY_ROWS.. => tile::<L, S, 6>(&mut walk, row, &scratch, gathered),
                    5 => tile::<L, S, 5>(&mut walk, row, &scratch, gathered),
                    4 => tile::<L, S, 4>(&mut walk, row, &scratch, gathered),
                    3 => tile::<L, S, 3>(&mut walk, row, &scratch, gathered),
                    2 => tile::<L, S, 2>(&mut walk, row, &scratch, gathered),
                    _ => tile::<L, S, 1>(&mut walk, row, &scratch, gathered),
                }
            }
            row += QUERY_ROWS;
            // The first tile has brought the segment into the cache.
            walk.ahead = None;
        }
    }
}
