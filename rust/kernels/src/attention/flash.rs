//! Flash-style attention over KV blocks: a segment at a time, with scores of a few rows in cache.
//!
//! Query rows (tokens times the heads that share the KV head) go through a segment up to six
//! together, in three steps: scores of the segment, softmax under its maximum, weighted values. A key or value is
//! loaded once for all of them. What a row computes does not depend on the rows beside
//! it: a position that it does not see has weight 0, and a segment of which it sees nothing leaves
//! it untouched.

use std::ops::Range;

use super::arithmetic::Arithmetic;
use super::join::Gathered;
use super::scratch::Scratch;
use super::segment::{Panels, Segment};
use super::setting::{QUERY_ROWS, Setting};
use super::walk::Walk;

/// Where it goes what the segments hold.
pub(crate) enum Target<'a, 'b> {
    /// All of them joined.
    Joined(&'a mut Gathered<'b>),
    /// Each for itself, one behind the other.
    Parts(&'b mut [f32]),
}

/// One segment for some query rows, inside one instruction set; see [`tile`](super::tile::tile).
pub(crate) type Tile<A> =
    for<'a, 'b, 'c> unsafe fn(&mut Walk<'a, 'b, A>, usize, &Scratch, &mut Gathered<'c>);

/// What of one arithmetic is entered: each a function of its own that has the instruction set.
pub(crate) struct Entries<A: Arithmetic> {
    /// [`Scratch::prepare`].
    pub(crate) prepare: for<'a> unsafe fn(A, Setting<'a>, &Scratch),
    /// Tiles of one row, of two, and so on: together they are more than a compiler likes to look at.
    pub(crate) tiles: [Tile<A>; QUERY_ROWS],
}

/// Gathers what consecutive segments hold for every query row.
///
/// `target` has a row for each of the task's.
pub(crate) fn gather<A: Arithmetic>(
    arithmetic: A,
    data: &[A::Stored],
    (setting, segments): (Setting<'_>, Range<usize>),
    mut target: Target<'_, '_>,
    entries: &Entries<A>,
) {
    if segments.is_empty() {
        return;
    }
    let dimensions = setting.dimensions;
    let panels = Panels::new(data, setting, segments.clone());
    let scratch = Scratch::new(setting);
    // SAFETY: the arithmetic proves the instruction set; the scratch memory is the setting's.
    unsafe { (entries.prepare)(arithmetic, setting, &scratch) };
    let mut first_panel = 0;
    let mut walk = Walk {
        arithmetic,
        setting,
        segment: Segment::none(),
        ahead: panels.ahead(),
        is_asking: false,
    };
    for index in segments {
        let before = std::mem::replace(&mut walk.segment, Segment::none());
        walk.segment = before.next((&panels, &mut first_panel), setting, index);
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
        // The first tile brings the segment into the cache, and asks for what comes behind it.
        walk.is_asking = true;
        for first_row in (0..dimensions.rows()).step_by(QUERY_ROWS) {
            let rows = QUERY_ROWS.min(dimensions.rows() - first_row);
            // SAFETY: the arithmetic proves the instruction set; the scratch memory is the setting's, and as many of its
            // rows are left as the tile takes.
            unsafe { entries.tiles[rows - 1](&mut walk, first_row, &scratch, gathered) };
            walk.is_asking = false;
        }
    }
}
