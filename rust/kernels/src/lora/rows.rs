//! The two halves of an adapter's product, written once for all instruction sets.
//!
//! A row's results depend on the row and the adapter alone: each sum is added up in one order, whatever stands beside it
//! in a batch. Rows of one adapter come together, so that its numbers are read and widened once for several of them.

use super::deltas::{Meeting, RowDelta};
use super::numbers::{LORA_PANEL, LoraNumber, LoraNumbers};
use crate::matmul::{FloatRows, OutputTile};
use crate::simd::Lanes;

/// Vectors of a dot product that are added up apart from one another.
const CHAINS: usize = 2;
/// Rows that meet the same numbers at once.
const MOST_ROWS: usize = 4;

/// Panics unless each row of `x` has its place for as many numbers as A has rows.
pub(crate) fn check_reduce(a: LoraNumbers<'_>, x: FloatRows<'_>, reduced: &[f32], stride: usize) {
    let (columns, rows) = (x.columns, x.values.len() / x.columns.max(1));
    assert!(
        columns > 0 && a.len().is_multiple_of(columns) && rows * columns == x.values.len(),
        "A of {columns} inputs"
    );
    let rank = a.len() / columns;
    let needed = rows.saturating_sub(1) * stride + rank;
    assert!(
        rows == 0 || rank <= stride && needed <= reduced.len(),
        "{rows} rows of rank {rank}"
    );
}

/// `reduced[row][r] = a[r] . x[row]`, in plain loops.
pub(crate) fn plain_reduce(
    a: LoraNumbers<'_>,
    x: FloatRows<'_>,
    reduced: &mut [f32],
    stride: usize,
) {
    let rank = a.len() / x.columns;
    for (row, x) in x.values.chunks_exact(x.columns).enumerate() {
        for r in 0..rank {
            let products = x.iter().enumerate();
            reduced[row * stride + r] = products
                .map(|(column, value)| a.number(r * x.len() + column) * value)
                .sum();
        }
    }
}

/// `y[row][c] += sum of reduced[row][r] * b[r][c]` where delta and tile meet, in plain loops.
pub(crate) fn plain_expand(delta: &RowDelta<'_>, meeting: &Meeting, tile: &mut OutputTile<'_>) {
    for (index, row) in meeting.rows.clone().enumerate() {
        let reduced = delta.reduced_of(row);
        let y = &mut tile.row_mut(meeting.tile_row + index)[meeting.tile_column..];
        for (output, y) in meeting.outputs.clone().zip(y) {
            let panel = output / LORA_PANEL * delta.rank * LORA_PANEL + output % LORA_PANEL;
            for (r, reduced) in reduced.iter().enumerate() {
                *y += reduced * delta.b.number(panel + r * LORA_PANEL);
            }
        }
    }
}

/// As [`plain_reduce`], in vectors.
#[inline(always)]
pub(crate) fn reduce<L: Lanes, S: LoraNumber>(
    lanes: L,
    a: &[S],
    x: FloatRows<'_>,
    reduced: &mut [f32],
    stride: usize,
) {
    let some = x.values.chunks(MOST_ROWS * x.columns);
    for (group, values) in some.enumerate() {
        let reduced = &mut reduced[group * MOST_ROWS * stride..];
        match values.len() / x.columns {
            4 => reduce_rows::<L, S, 4>(lanes, a, values, reduced, stride),
            3 => reduce_rows::<L, S, 3>(lanes, a, values, reduced, stride),
            2 => reduce_rows::<L, S, 2>(lanes, a, values, reduced, stride),
            _ => reduce_rows::<L, S, 1>(lanes, a, values, reduced, stride),
        }
    }
}

#[inline(always)]
fn reduce_rows<L: Lanes, S: LoraNumber, const ROWS: usize>(
    lanes: L,
    a: &[S],
    x: &[f32],
    reduced: &mut [f32],
    stride: usize,
) {
    let columns = x.len() / ROWS;
    let rank = a.len() / columns;
    let mut r = 0;
    while r < rank {
        let (a, reduced) = (&a[r * columns..], &mut reduced[r..]);
        // Few rows of `x` meet several of A, so that there is enough to do at once.
        r += match (ROWS, rank - r) {
            (1, 4..) => some_of_rank::<L, S, ROWS, 4>(lanes, a, x, reduced, stride),
            (1..=2, 2..) => some_of_rank::<L, S, ROWS, 2>(lanes, a, x, reduced, stride),
            _ => some_of_rank::<L, S, ROWS, 1>(lanes, a, x, reduced, stride),
        };
    }
}

#[inline(always)]
fn some_of_rank<L: Lanes, S: LoraNumber, const ROWS: usize, const RANK: usize>(
    lanes: L,
    a: &[S],
    x: &[f32],
    reduced: &mut [f32],
    stride: usize,
) -> usize {
    let sums = dots::<L, S, ROWS, RANK>(lanes, a, x);
    for (r, sums) in sums.into_iter().enumerate() {
        for (row, sum) in sums.into_iter().enumerate() {
            reduced[row * stride + r] = sum;
        }
    }
    RANK
}

/// The dot products of the first rows of A with rows of their length, one behind the other.
#[inline(always)]
fn dots<L: Lanes, S: LoraNumber, const ROWS: usize, const RANK: usize>(
    lanes: L,
    a: &[S],
    x: &[f32],
) -> [[f32; ROWS]; RANK] {
    let length = (x.len() / ROWS).min(a.len() / RANK);
    let (a, x) = (a.as_ptr(), x.as_ptr());
    let mut sums = [[[lanes.splat(0.0); CHAINS]; ROWS]; RANK];
    let mut index = 0;
    // SAFETY: whole vectors before `length` are loaded, then as many numbers as are left; `x` has `ROWS` rows of that,
    // and `a` has `RANK`.
    unsafe {
        while index + CHAINS * L::WIDTH <= length {
            for chain in 0..CHAINS {
                let place = index + chain * L::WIDTH;
                let mut values = [lanes.splat(0.0); ROWS];
                for (row, values) in values.iter_mut().enumerate() {
                    *values = lanes.load(x.add(row * length + place));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = S::load(lanes, a.add(r * length + place));
                    for (sums, values) in sums.iter_mut().zip(values) {
                        sums[chain] = lanes.fma(a, values, sums[chain]);
                    }
                }
            }
            index += CHAINS * L::WIDTH;
        }
        while index < length {
            let count = (length - index).min(L::WIDTH);
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = S::load_partial(lanes, a.add(r * length + index), count);
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = lanes.load_partial(x.add(row * length + index), count);
                    sums[0] = lanes.fma(a, x, sums[0]);
                }
            }
            index += count;
        }
    }
    sums.map(|sums| sums.map(|[first, second]| lanes.sum(lanes.add(first, second))))
}

/// As [`plain_expand`], in vectors.
///
/// # Safety
///
/// The meeting was checked, and `b` is what the delta has.
#[inline(always)]
pub(crate) unsafe fn expand<L: Lanes, S: LoraNumber>(
    lanes: L,
    b: &[S],
    delta: &RowDelta<'_>,
    meeting: &Meeting,
    tile: &mut OutputTile<'_>,
) {
    let stride = tile.stride();
    let mut output = meeting.outputs.start;
    while output < meeting.outputs.end {
        let (panel, lane) = (output / LORA_PANEL, output % LORA_PANEL);
        let count = (LORA_PANEL - lane).min(meeting.outputs.end - output);
        let column = meeting.tile_column + output - meeting.outputs.start;
        let rank = delta.rank;
        let panel = &b[panel * rank * LORA_PANEL..(panel + 1) * rank * LORA_PANEL];
        let mut row = meeting.rows.start;
        while row < meeting.rows.end {
            let rows = (meeting.rows.end - row).min(MOST_ROWS);
            let tile_row = meeting.tile_row + row - meeting.rows.start;
            if count == LORA_PANEL {
                let reduced = &delta.reduced[(row - delta.rows.start) * delta.stride..];
                let factors = (reduced, delta.stride);
                // SAFETY: the meeting was checked: the tile has these rows, and a panel's columns from this one on.
                unsafe {
                    let y = tile.as_mut_ptr().add(tile_row * stride + column);
                    match rows {
                        4 => add_panel::<L, S, 4>(lanes, panel, factors, (y, stride)),
                        3 => add_panel::<L, S, 3>(lanes, panel, factors, (y, stride)),
                        2 => add_panel::<L, S, 2>(lanes, panel, factors, (y, stride)),
                        _ => add_panel::<L, S, 1>(lanes, panel, factors, (y, stride)),
                    }
                }
            } else {
                for index in 0..rows {
                    // What is not a whole panel goes through one, so that each sum is added up as in others.
                    let mut whole = [0.0; LORA_PANEL];
                    let y = &mut tile.row_mut(tile_row + index)[column..column + count];
                    whole[lane..lane + count].copy_from_slice(y);
                    let factors = (delta.reduced_of(row + index), delta.stride);
                    // SAFETY: the panel's columns are this array.
                    unsafe {
                        let target = (whole.as_mut_ptr(), LORA_PANEL);
                        add_panel::<L, S, 1>(lanes, panel, factors, target);
                    }
                    y.copy_from_slice(&whole[lane..lane + count]);
                }
            }
            row += rows;
        }
        output += count;
    }
}

/// Adds a panel's outputs to as many rows of `y`, whose factors stand a stride apart.
///
/// # Safety
///
/// `y` is valid for a panel's columns at each of `ROWS` multiples of its stride.
#[inline(always)]
unsafe fn add_panel<L: Lanes, S: LoraNumber, const ROWS: usize>(
    lanes: L,
    panel: &[S],
    (factors, apart): (&[f32], usize),
    (y, stride): (*mut f32, usize),
) {
    let rank = panel.len() / LORA_PANEL;
    assert!(
        (ROWS - 1) * apart + rank <= factors.len(),
        "factors of {ROWS} rows"
    );
    let vectors = LORA_PANEL / L::WIDTH;
    let mut sums = [[lanes.splat(0.0); LORA_PANEL / 4]; ROWS];
    // SAFETY: `y` is what the caller promises; factors were counted above, and a panel has `rank` rows.
    unsafe {
        for (row, sums) in sums.iter_mut().enumerate() {
            for (vector, sum) in sums.iter_mut().take(vectors).enumerate() {
                *sum = lanes.load(y.add(row * stride + vector * L::WIDTH));
            }
        }
        for r in 0..rank {
            let mut numbers = [lanes.splat(0.0); LORA_PANEL / 4];
            for (vector, numbers) in numbers.iter_mut().take(vectors).enumerate() {
                let place = r * LORA_PANEL + vector * L::WIDTH;
                *numbers = S::load(lanes, panel.as_ptr().add(place));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = lanes.splat(*factors.as_ptr().add(row * apart + r));
                for (sum, numbers) in sums.iter_mut().zip(numbers).take(vectors) {
                    *sum = lanes.fma(factor, numbers, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().take(vectors).enumerate() {
                lanes.store(y.add(row * stride + vector * L::WIDTH), *sum);
            }
        }
    }
}
