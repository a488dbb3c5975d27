//! Joining what segments gathered: the one formula for it, in whichever thread.

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
pub(crate) struct Share {
    pub(crate) values: *const f32,
    pub(crate) maximum: f32,
    pub(crate) sum: f32,
}

impl Share {
    /// What a row has that sees nothing.
    pub(crate) const NOTHING: Self = Self {
        values: std::ptr::null(),
        maximum: f32::NEG_INFINITY,
        sum: 0.0,
    };
}

/// Adds the next segment's share to a row; a row that sees nothing of the segment stays as it is.
///
/// # Safety
///
/// Needs the instruction set of `L`; the share has `head_dim` values.
#[inline(always)]
pub(crate) unsafe fn join<L: Lanes>(gathered: &mut Gathered<'_>, row: usize, share: Share) {
    if share.maximum == f32::NEG_INFINITY {
        return;
    }
    let before = gathered.maxima[row];
    if before == f32::NEG_INFINITY {
        gathered.maxima[row] = share.maximum;
        gathered.sums[row] = share.sum;
        let values = gathered.row(row);
        // SAFETY: the caller's; nobody else writes the share.
        values.copy_from_slice(unsafe { std::slice::from_raw_parts(share.values, values.len()) });
        return;
    }
    let highest = before.max(share.maximum);
    gathered.maxima[row] = highest;
    // SAFETY: the caller's; the vectors lie inside the row and the share.
    unsafe {
        let old = exp2::<L>(L::splat(before - highest));
        let new = exp2::<L>(L::splat(share.maximum - highest));
        let (sum, more) = (L::splat(gathered.sums[row]), L::splat(share.sum));
        gathered.sums[row] = L::maximum(L::add(L::mul(sum, old), L::mul(more, new)));
        let values = gathered.row(row);
        for (index, target) in values.chunks_mut(L::WIDTH).enumerate() {
            let (before, more) = (
                load::<L>(target.as_ptr(), target.len()),
                load::<L>(share.values.add(index * L::WIDTH), target.len()),
            );
            let sum = L::add(L::mul(before, old), L::mul(more, new));
            store::<L>(target.as_mut_ptr(), sum, target.len());
        }
    }
}

/// A vector of `count` lanes.
#[inline(always)]
unsafe fn load<L: Lanes>(source: *const f32, count: usize) -> L::Vector {
    // SAFETY: the caller's.
    unsafe {
        if count == L::WIDTH {
            L::load(source)
        } else {
            L::load_partial(source, count)
        }
    }
}

/// The first `count` lanes.
#[inline(always)]
unsafe fn store<L: Lanes>(target: *mut f32, vector: L::Vector, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        if count == L::WIDTH {
            L::store(target, vector);
        } else {
            L::store_partial(target, vector, count);
        }
    }
}

/// Divides every row by the sum of its weights.
///
/// # Safety
///
/// Needs the instruction set of `L`.
#[inline(always)]
pub(crate) unsafe fn finish<L: Lanes>(gathered: &mut Gathered<'_>) {
    for row in 0..gathered.sums.len() {
        let inverse = 1.0 / gathered.sums[row];
        if gathered.maxima[row] == f32::NEG_INFINITY {
            // No score was a number, so nothing was joined.
            gathered.row(row).fill(f32::NAN);
            continue;
        }
        for target in gathered.row(row).chunks_mut(L::WIDTH) {
            // SAFETY: the caller's; the vector is the chunk.
            unsafe {
                let values = load::<L>(target.as_ptr(), target.len());
                let scaled = L::mul(values, L::splat(inverse));
                store::<L>(target.as_mut_ptr(), scaled, target.len());
            }
        }
    }
}

/// Joins the parts of consecutive segments, each `[rows, head_dim]`, then maxima, then sums.
///
/// # Safety
///
/// Needs the instruction set of `L`; the parts were checked.
#[inline(always)]
pub(crate) unsafe fn join_parts<L: Lanes>(parts: &[f32], gathered: &mut Gathered<'_>) {
    let (rows, head_dim) = (gathered.sums.len(), gathered.head_dim);
    for part in parts.chunks_exact(rows * (head_dim + 2)) {
        for row in 0..rows {
            let share = Share {
                values: part[row * head_dim..][..head_dim].as_ptr(),
                maximum: part[rows * head_dim + row],
                sum: part[rows * (head_dim + 1) + row],
            };
            // SAFETY: the caller's.
            unsafe { join::<L>(gathered, row, share) };
        }
    }
}

/// How many query rows the parts have.
pub(crate) fn check_parts(parts: &[f32], head_dim: usize, output: &RowsMut<'_>) -> usize {
    assert!(
        head_dim > 0 && output.width().is_multiple_of(head_dim),
        "rows of {} for heads of {head_dim}",
        output.width()
    );
    let rows = output.rows() * (output.width() / head_dim);
    assert!(
        rows > 0 && parts.len().is_multiple_of(rows * (head_dim + 2)),
        "parts of {rows} rows"
    );
    rows
}
