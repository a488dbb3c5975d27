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
use super::tile::Walk;
use crate::simd::Lanes;

/// Where it goes what the segments hold.
pub(crate) enum Target<'a, 'b> {
    /// All of them joined.
    Joined(&'a mut Gathered<'b>),
    /// Each for itself, one behind the other.
    Parts(&'b mut [f32]),
}

/// One segment for some query rows, inside one instruction set; see [`tile`](super::tile::tile).
pub(crate) type Tile<L, S> =
    for<'a, 'b, 'c> unsafe fn(&mut Walk<'a, 'b, L, S>, usize, &Scratch, &mut Gathered<'c>);

/// Gathers what consecutive segments hold for every query row.
///
/// `target` has a row for each of the task's. The tiles are of one row, of two, and so on; each is a function of
/// its own, since together they are more than a compiler likes to look at.
pub(crate) fn gather<L: Lanes, S: Stored>(
    lanes: L,
    data: &[S],
    setting: Setting<'_>,
    segments: Range<usize>,
    mut target: Target<'_, '_>,
    tiles: [Tile<L, S>; QUERY_ROWS],
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
        for first_row in (0..dimensions.rows()).step_by(QUERY_ROWS) {
            let rows = QUERY_ROWS.min(dimensions.rows() - first_row);
            // SAFETY: the lanes prove the instruction set; the scratch memory is the setting's, and as many of its
            // rows are left as the tile takes.
            unsafe { tiles[rows - 1](&mut walk, first_row, &scratch, gathered) };
            // The first tile has brought the segment into the cache.
            walk.ahead = None;
        }
    }
}
