//! The products of a register tile: numbers of a few rows with vectors of keys or values.

use std::ops::Range;

use super::ahead::Ahead;
use super::arithmetic::{Arithmetic, width};
use super::layout::Side;

/// Steps between two requests for memory ahead.
const STEPS_AHEAD: usize = 8;

/// Vectors of keys or of values, each of which goes on `stride` elements further at every step.
pub(super) struct Panel<'a, S, const VECTORS: usize> {
    pub(super) side: Side,
    pub(super) vectors: &'a [*const S; VECTORS],
    pub(super) stride: usize,
}

/// `sums[row][c] += rows[row][step] * vectors[c][(step - first) * stride..]` over all steps.
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
    let elements = match panel.side {
        Side::Key => A::KEY_ELEMENTS,
        Side::Value => A::VALUE_ELEMENTS,
    };
    let bytes = STEPS_AHEAD * VECTORS * width::<A>() * elements * size_of::<A::Stored>();
    // SAFETY: the caller has each of the steps, of rows and of vectors.
    unsafe {
        let mut step = steps.start;
        while step + STEPS_AHEAD <= steps.end {
            if let Some(ahead) = &mut ahead {
                ahead.advance(bytes);
            }
            for inner in step..step + STEPS_AHEAD {
                let offset = (inner - steps.start) * panel.stride;
                multiply_step(arithmetic, sums, (rows, inner), (panel, offset));
            }
            step += STEPS_AHEAD;
        }
        while step < steps.end {
            let offset = (step - steps.start) * panel.stride;
            multiply_step(arithmetic, sums, (rows, step), (panel, offset));
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
    (panel, offset): (&Panel<'_, A::Stored, VECTORS>, usize),
) {
    // SAFETY: a vector at the offset behind each pointer, and the step of each row: the caller has both.
    unsafe {
        // A loop, since a closure is a function of its own, which may stay one and has no instruction set then.
        let mut loaded = [load(arithmetic, panel, 0, offset); VECTORS];
        for (vector, loaded) in loaded.iter_mut().enumerate().skip(1) {
            *loaded = load(arithmetic, panel, vector, offset);
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
/// The panel has the vector, and a step at the offset.
#[inline(always)]
unsafe fn load<A: Arithmetic, const VECTORS: usize>(
    arithmetic: A,
    panel: &Panel<'_, A::Stored, VECTORS>,
    vector: usize,
    offset: usize,
) -> A::Factor {
    // SAFETY: what the caller promises.
    unsafe {
        let source = panel.vectors[vector].add(offset);
        match panel.side {
            Side::Key => arithmetic.load_key(source),
            Side::Value => arithmetic.load_value(source),
        }
    }
}
