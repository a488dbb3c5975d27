//! The two halves of an adapter's product for one row, written once for all instruction sets.
//!
//! A row's results depend on the row and the adapter alone: each dot product is added up in one order, whatever stands
//! beside it in a batch.

use super::numbers::LoraNumbers;
use crate::attention::product::Stored;
use crate::simd::Lanes;

/// Vectors of a dot product that are added up apart from one another.
const CHAINS: usize = 4;

/// Panics unless `a` has a row of `x`'s length for each number of `reduced`.
pub(crate) fn check_reduce(a: LoraNumbers<'_>, x: &[f32], reduced: &[f32]) {
    assert_eq!(a.len(), reduced.len() * x.len(), "A of {} inputs", x.len());
}

/// Panics unless `b` has a row of its width for each number of `reduced`, with a place for each of `y` from `first` on.
pub(crate) fn check_expand(
    (b, outputs): (LoraNumbers<'_>, usize),
    first: usize,
    reduced: &[f32],
    y: &[f32],
) {
    assert!(
        b.len() == reduced.len() * outputs && first + y.len() <= outputs,
        "B of {outputs} outputs"
    );
}

/// `reduced[r] = a[r] . x`, in plain loops.
pub(crate) fn plain_reduce(a: LoraNumbers<'_>, x: &[f32], reduced: &mut [f32]) {
    for (row, reduced) in reduced.iter_mut().enumerate() {
        let first = row * x.len();
        let products = x.iter().enumerate();
        *reduced = products
            .map(|(column, x)| a.number(first + column) * x)
            .sum();
    }
}

/// `y[c] += sum of reduced[r] * b[r][first + c]`, in plain loops.
pub(crate) fn plain_expand(
    (b, outputs): (LoraNumbers<'_>, usize),
    first: usize,
    reduced: &[f32],
    y: &mut [f32],
) {
    for (row, reduced) in reduced.iter().enumerate() {
        for (column, y) in y.iter_mut().enumerate() {
            *y += reduced * b.number(row * outputs + first + column);
        }
    }
}

/// As [`plain_reduce`], in vectors.
#[inline(always)]
pub(crate) fn reduce<L: Lanes, S: Stored>(lanes: L, a: &[S], x: &[f32], reduced: &mut [f32]) {
    for (reduced, a) in reduced.iter_mut().zip(a.chunks_exact(x.len())) {
        *reduced = dot(lanes, a, x);
    }
}

/// The dot product of two rows of one length.
#[inline(always)]
fn dot<L: Lanes, S: Stored>(lanes: L, a: &[S], x: &[f32]) -> f32 {
    let length = a.len().min(x.len());
    let (a, x) = (a.as_ptr(), x.as_ptr());
    let mut sums = [lanes.splat(0.0); CHAINS];
    let mut index = 0;
    // SAFETY: whole vectors before `length` are loaded, then as many numbers as are left.
    unsafe {
        while index + CHAINS * L::WIDTH <= length {
            for (chain, sum) in sums.iter_mut().enumerate() {
                let place = index + chain * L::WIDTH;
                *sum = lanes.fma(S::load(lanes, a.add(place)), lanes.load(x.add(place)), *sum);
            }
            index += CHAINS * L::WIDTH;
        }
        while index + L::WIDTH <= length {
            let a = S::load(lanes, a.add(index));
            sums[0] = lanes.fma(a, lanes.load(x.add(index)), sums[0]);
            index += L::WIDTH;
        }
        if index < length {
            let left = length - index;
            let a = S::load_partial(lanes, a.add(index), left);
            sums[1] = lanes.fma(a, lanes.load_partial(x.add(index), left), sums[1]);
        }
    }
    let [first, second, third, fourth] = sums;
    lanes.sum(lanes.add(lanes.add(first, second), lanes.add(third, fourth)))
}

/// As [`plain_expand`], in vectors.
///
/// # Safety
///
/// `b` is `reduced.len()` rows of its width, and `first + y.len()` is within that.
#[inline(always)]
pub(crate) unsafe fn expand<L: Lanes, S: Stored>(
    lanes: L,
    (values, outputs): (&[S], usize),
    first: usize,
    reduced: &[f32],
    y: &mut [f32],
) {
    let values = values.as_ptr();
    let mut column = 0;
    // SAFETY: whole vectors before the end of `y` are read and written, then what is left; their columns of every row
    // lie inside of `b`, as the caller promises.
    unsafe {
        while column + 2 * L::WIDTH <= y.len() {
            let target = y.as_mut_ptr().add(column);
            let mut sums = [lanes.load(target), lanes.load(target.add(L::WIDTH))];
            for (row, factor) in reduced.iter().enumerate() {
                let b = values.add(row * outputs + first + column);
                let factor = lanes.splat(*factor);
                sums[0] = lanes.fma(factor, S::load(lanes, b), sums[0]);
                sums[1] = lanes.fma(factor, S::load(lanes, b.add(L::WIDTH)), sums[1]);
            }
            lanes.store(target, sums[0]);
            lanes.store(target.add(L::WIDTH), sums[1]);
            column += 2 * L::WIDTH;
        }
        while column < y.len() {
            let count = (y.len() - column).min(L::WIDTH);
            let target = y.as_mut_ptr().add(column);
            let mut sum = lanes.load_partial(target, count);
            for (row, factor) in reduced.iter().enumerate() {
                let b = values.add(row * outputs + first + column);
                sum = lanes.fma(lanes.splat(*factor), S::load_partial(lanes, b, count), sum);
            }
            lanes.store_partial(target, sum, count);
            column += count;
        }
    }
}
