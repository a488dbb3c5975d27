//! Joining what segments gathered: the one formula for it, in whichever thread.

use super::layout::KvLayout;
use super::rotation;
use super::rows::RowsMut;
use super::task::Dimensions;
use crate::simd::{Lanes, exp2};

/// What some query rows gathered so far: weighted values, and for each row the highest score (as a
/// power of two) and the sum of the weights.
pub(crate) struct Gathered<'a> {
    /// One row a token, `[group, head_dim]`.
    values: RowsMut<'a>,
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    head_dim: usize,
}

impl<'a> Gathered<'a> {
    /// As before the first segment, whatever the values are; `statistics` is two numbers a query row.
    pub(crate) fn new(values: RowsMut<'a>, statistics: &'a mut [f32]) -> Self {
        let rows = statistics.len() / 2;
        let (maxima, sums) = statistics.split_at_mut(rows);
        maxima.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        Self {
            head_dim: values.rows() * values.width() / rows.max(1),
            values,
            maxima,
            sums,
        }
    }

    /// The same in one slice: values, maxima, sums.
    pub(crate) fn part(part: &'a mut [f32], dimensions: Dimensions) -> Self {
        let (values, statistics) = part.split_at_mut(dimensions.rows() * dimensions.head_dim);
        let width = dimensions.group * dimensions.head_dim;
        Self::new(RowsMut::new(values, width), statistics)
    }

    /// A row's values.
    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        let group = self.values.width() / self.head_dim;
        &mut self.values.row(row / group)[row % group * self.head_dim..][..self.head_dim]
    }
}

/// The same for one row and one segment.
#[derive(Clone, Copy)]
pub(crate) struct Share<'a> {
    /// `[head_dim]`
    pub(crate) values: &'a [f32],
    pub(crate) maximum: f32,
    pub(crate) sum: f32,
}

/// Adds the next segment's share to a row; a row that sees nothing of the segment stays as it is.
#[inline(always)]
pub(crate) fn join<L: Lanes>(lanes: L, gathered: &mut Gathered<'_>, row: usize, share: Share<'_>) {
    if share.maximum == f32::NEG_INFINITY {
        return;
    }
    let before = gathered.maxima[row];
    if before == f32::NEG_INFINITY {
        gathered.maxima[row] = share.maximum;
        gathered.sums[row] = share.sum;
        gathered.row(row).copy_from_slice(share.values);
        return;
    }
    let highest = before.max(share.maximum);
    gathered.maxima[row] = highest;
    let old = exp2(lanes, lanes.splat(before - highest));
    let new = exp2(lanes, lanes.splat(share.maximum - highest));
    let (sum, more) = (lanes.splat(gathered.sums[row]), lanes.splat(share.sum));
    gathered.sums[row] = lanes.maximum(lanes.add(lanes.mul(sum, old), lanes.mul(more, new)));
    let targets = gathered.row(row).chunks_mut(L::WIDTH);
    for (target, more) in targets.zip(share.values.chunks(L::WIDTH)) {
        let (before, more) = (load(lanes, target), load(lanes, more));
        let sum = lanes.add(lanes.mul(before, old), lanes.mul(more, new));
        store(lanes, target, sum);
    }
}

/// A vector, or what there is of the last one.
#[inline(always)]
fn load<L: Lanes>(lanes: L, source: &[f32]) -> L::Vector {
    if source.len() == L::WIDTH {
        // SAFETY: the slice is a whole vector.
        unsafe { lanes.load(source.as_ptr()) }
    } else {
        lanes.load_up_to(source)
    }
}

/// Writes a vector, or what there is room for of the last one.
#[inline(always)]
fn store<L: Lanes>(lanes: L, target: &mut [f32], vector: L::Vector) {
    if target.len() == L::WIDTH {
        // SAFETY: the slice is a whole vector.
        unsafe { lanes.store(target.as_mut_ptr(), vector) };
    } else {
        lanes.store_up_to(target, vector);
    }
}

/// Turns what was gathered of one tier as the next one is turned, to which it is joined.
pub(crate) fn pass_on(from: KvLayout, to: KvLayout, gathered: &mut Gathered<'_>) {
    let (before, after) = (from.turned_together(), to.turned_together());
    if before == after {
        return;
    }
    for row in 0..gathered.sums.len() {
        // Where nothing was joined, nothing is there to turn.
        if gathered.maxima[row] != f32::NEG_INFINITY {
            // One of the two is not turned, and a turn is its own way back.
            rotation::turn(gathered.row(row), before.max(after));
        }
    }
}

/// Divides every row by the sum of its weights, and turns it back where the cache is turned.
#[inline(always)]
pub(crate) fn finish<L: Lanes>(lanes: L, layout: KvLayout, gathered: &mut Gathered<'_>) {
    for row in 0..gathered.sums.len() {
        let inverse = 1.0 / gathered.sums[row];
        if gathered.maxima[row] == f32::NEG_INFINITY {
            // No score was a number, so nothing was joined.
            gathered.row(row).fill(f32::NAN);
            continue;
        }
        for target in gathered.row(row).chunks_mut(L::WIDTH) {
            let scaled = lanes.mul(load(lanes, target), lanes.splat(inverse));
            store(lanes, target, scaled);
        }
        rotation::turn(gathered.row(row), layout.turned_together());
    }
}

/// Joins the parts of consecutive segments, each `[rows, head_dim]`, then maxima, then sums.
#[inline(always)]
pub(crate) fn join_parts<L: Lanes>(lanes: L, parts: &[f32], gathered: &mut Gathered<'_>) {
    let (rows, head_dim) = (gathered.sums.len(), gathered.head_dim);
    for part in parts.chunks_exact(rows * (head_dim + 2)) {
        for row in 0..rows {
            let share = Share {
                values: &part[row * head_dim..][..head_dim],
                maximum: part[rows * head_dim + row],
                sum: part[rows * (head_dim + 1) + row],
            };
            join(lanes, gathered, row, share);
        }
    }
}

/// How many query rows the parts of all tiers have, and how wide a head is.
pub(crate) fn check_parts(tiers: &[(KvLayout, &[f32])], output: &RowsMut<'_>) -> (usize, usize) {
    let head_dim = tiers.first().map_or(0, |(layout, _)| layout.head_dim);
    assert!(
        head_dim > 0 && output.width().is_multiple_of(head_dim),
        "rows of {} for heads of {head_dim}",
        output.width()
    );
    let rows = output.rows() * (output.width() / head_dim);
    for (layout, parts) in tiers {
        assert!(
            rows > 0
                && layout.head_dim == head_dim
                && parts.len().is_multiple_of(rows * (head_dim + 2)),
            "parts of {rows} rows"
        );
    }
    (rows, head_dim)
}
