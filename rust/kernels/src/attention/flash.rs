//! Flash-style attention over KV blocks: a segment at a time, with scores of a few rows in cache.
//!
//! Query rows (tokens times the heads that share the KV head) go through a segment up to six
//! together: scores of the segment, softmax under its maximum, weighted values. A key or value is
//! loaded and widened once for all of them. What a row computes does not depend on the rows beside
//! it: a position that it does not see has weight 0, and a segment of which it sees nothing leaves
//! it untouched.

use std::ops::Range;

use super::join::Gathered;
use super::memory::{Scratch, Segment};
use super::product::Stored;
use super::storage::{KvData, KvView};
use super::tile::{Walk, tile};
use super::{AttentionShape, AttentionTask, Dimensions};
use crate::simd::Lanes;

/// Query rows that go through a segment together.
pub(super) const TILE_ROWS: usize = 6;

/// A task, and what was checked about it.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) kv: &'a KvView<'a>,
    pub(crate) shape: &'a AttentionShape,
    pub(crate) task: &'a AttentionTask<'a>,
    pub(crate) dimensions: Dimensions,
}

impl<'a> Setting<'a> {
    pub(crate) fn new(
        kv: &'a KvView<'a>,
        shape: &'a AttentionShape,
        task: &'a AttentionTask<'a>,
    ) -> Self {
        Self {
            kv,
            shape,
            task,
            dimensions: task.check(kv, shape),
        }
    }
}

/// Adds what consecutive segments hold for every query row to what is gathered.
///
/// # Safety
///
/// Needs the instruction set of `L`; the task was checked and `gathered` has a row for each of its.
#[inline(always)]
pub(crate) unsafe fn gather<L: Lanes>(
    setting: Setting<'_>,
    segments: Range<usize>,
    gathered: &mut Gathered<'_, '_>,
) {
    // SAFETY: the caller's.
    unsafe {
        match setting.kv.data {
            KvData::F32(data) => gather_stored::<L, f32>(data, setting, segments, gathered),
            KvData::F16(data) => gather_stored::<L, u16>(data, setting, segments, gathered),
        }
    }
}

#[inline(always)]
unsafe fn gather_stored<L: Lanes, S: Stored>(
    data: &[S],
    setting: Setting<'_>,
    segments: Range<usize>,
    gathered: &mut Gathered<'_, '_>,
) {
    let rows = setting.dimensions.rows();
    let scratch = Scratch::new(setting);
    for index in segments {
        let segment = Segment::new(data, setting, index);
        let mut walk = Walk {
            setting,
            segment: &segment,
            ahead: Some(segment.ahead()),
        };
        let mut row = 0;
        while row < rows {
            // SAFETY: the caller's; the tiles cover rows below `rows`.
            unsafe {
                match rows - row {
                    TILE_ROWS.. => tile::<L, S, 6>(&mut walk, row, &scratch, gathered),
                    5 => tile::<L, S, 5>(&mut walk, row, &scratch, gathered),
                    4 => tile::<L, S, 4>(&mut walk, row, &scratch, gathered),
                    3 => tile::<L, S, 3>(&mut walk, row, &scratch, gathered),
                    2 => tile::<L, S, 2>(&mut walk, row, &scratch, gathered),
                    _ => tile::<L, S, 1>(&mut walk, row, &scratch, gathered),
                }
            }
            row += TILE_ROWS;
            // The first tile has brought the segment into the cache.
            walk.ahead = None;
        }
    }
}
