//! The products of a register tile: numbers of a few rows with vectors of keys or values.

use std::ops::Range;

use super::ahead::Ahead;
use super::arithmetic::{Arithmetic, width};
use super::layout::Side;
use super::packing::Packing;

/// Steps between two requests for memory ahead.
const STEPS_AHEAD: usize = 8;

/// Vectors of keys or of values, in the planes that they stand in, each of which goes on `stride` elements further after the
/// steps that share elements.
pub(super) struct Panel<'a, S, const VECTORS: usize> {
    pub(super) side: Side,
    pub(super) vectors: &'a [[*const S; 2]; VECTORS],
    pub(super) stride: usize,
}

/// `sums[row][c] += rows[row][step] * vectors[c][step - first]` over all steps.
///
/// # Safety
///
/// Every step of a row and every whole vector named is valid to read.
#[inline(always)]
pub(super) unsafe fn multiply<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
    arithmetic: A,
    sums: &mut [[A::Sum; VECTORS]; ROWS],
    rows: &[*const f32; ROWS],
    panel: &Panel<'_, A::Stored, VECTORS>,
    (steps, mut ahead): (Range<usize>, Option<&mut Ahead<'_, A::Stored>>),
) {
    let (elements, shared) = match panel.side {
        Side::Key => (A::Keys::ELEMENTS, A::Keys::STEPS),
        Side::Value => (A::Values::ELEMENTS, A::Values::STEPS),
    };
    const { assert!(STEPS_AHEAD.is_multiple_of(A::Keys::STEPS)) };
    const { assert!(STEPS_AHEAD.is_multiple_of(A::Values::STEPS)) };
    let lanes = STEPS_AHEAD / shared * VECTORS * width::<A>();
    let bytes = lanes * elements * size_of::<A::Stored>();
    // SAFETY: the caller has each of the steps, of rows and of vectors.
    unsafe {
        let mut step = steps.start;
        while step + STEPS_AHEAD <= steps.end {
            if let Some(ahead) = &mut ahead {
                ahead.advance(bytes);
            }
            let begin = (step - steps.start) / shared * panel.stride;
            for inner in 0..STEPS_AHEAD {
                let place = (begin + inner / shared * panel.stride, inner % shared);
                multiply_step(arithmetic, sums, (rows, step + inner), (panel, place));
            }
            step += STEPS_AHEAD;
        }
        while step < steps.end {
            let done = step - steps.start;
            let place = (done / shared * panel.stride, done % shared);
            multiply_step(arithmetic, sums, (rows, step), (panel, place));
            step += 1;
        }
    }
}

/// # Safety
///
/// As [`multiply`], for one step.
#[inline(always)]
unsafe fn multiply_step<A: Arithmetic, const ROWS: usize, const VECTORS: usize>(
    arithmetic: A,
    sums: &mut [[A::Sum; VECTORS]; ROWS],
    (rows, step): (&[*const f32; ROWS], usize),
    (panel, place): (&Panel<'_, A::Stored, VECTORS>, (usize, usize)),
) {
    // SAFETY: a vector at the place behind each pointer, and the step of each row: the caller has both.
    unsafe {
        // A loop, since a closure is a function of its own, which may stay one and has no instruction set then.
        let mut loaded = [load(arithmetic, panel, 0, place); VECTORS];
        for (vector, loaded) in loaded.iter_mut().enumerate().skip(1) {
            *loaded = load(arithmetic, panel, vector, place);
        }
        for (sums, row) in sums.iter_mut().zip(rows) {
            let factor = arithmetic.splat(*row, step);
            for (sum, loaded) in sums.iter_mut().zip(loaded) {
                *sum = arithmetic.add_product(*sum, factor, loaded);
            }
        }
    }
}

/// One vector of a panel; which side it is of is known where this is inlined.
///
/// # Safety
///
/// The panel has the vector, and steps at the offset.
#[inline(always)]
unsafe fn load<A: Arithmetic, const VECTORS: usize>(
    arithmetic: A,
    panel: &Panel<'_, A::Stored, VECTORS>,
    vector: usize,
    (offset, step): (usize, usize),
) -> A::Factor {
    // SAFETY: what the caller promises.
    unsafe {
        let [first, second] = panel.vectors[vector];
        let planes = [first.add(offset), second.add(offset)];
        match panel.side {
            Side::Key => arithmetic.load_key(planes, step),
            Side::Value => arithmetic.load_value(planes, step),
        }
    }
}
