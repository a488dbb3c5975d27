//! Flash-style attention over KV blocks: a segment at a time, with scores of a few rows in cache.
//!
//! Query rows (tokens times the heads that share the KV head) go through a segment up to six
//! together: scores of the segment, softmax under its maximum, weighted values. A key or value is
//! loaded and widened once for all of them. What a row computes does not depend on the rows beside
//! it: a position that it does not see has weight 0, and a segment of which it sees nothing leaves
//! it untouched.

use std::ops::Range;

use super::join::Gathered;
use super::product::Stored;
use super::scratch::Scratch;
use super::segment::{Panels, Segment};
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
/// `target` has a row for each of the task's.
#[inline(always)]
pub(crate) fn gather<L: Lanes>(
    lanes: L,
    setting: Setting<'_>,
    segments: Range<usize>,
    target: Target<'_, '_>,
) {
    match setting.kv.data {
        KvData::F32(data) => gather_stored(lanes, data, setting, segments, target),
        KvData::F16(data) => gather_stored(lanes, data, setting, segments, target),
        KvData::I8(data) => gather_stored(lanes, data, setting, segments, target),
    }
}

#[inline(always)]
fn gather_stored<L: Lanes, S: Stored>(
    lanes: L,
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
            lanes,
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
            // SAFETY: the scratch memory is the setting's, and as many of its rows are left as the instance takes.
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
