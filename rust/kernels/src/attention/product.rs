//! The register tile under both halves of attention: a few rows of numbers times vectors of the cache.
//!
//! Scores are queries times keys, results are weights times values; in both, one number of each row
//! meets vectors that stand `stride` apart, and every lane of every row is a chain of its own. So
//! what a lane computes does not depend on how many rows and vectors a tile has.

use crate::simd::{Lanes, prefetch};

/// Steps between two requests for memory ahead.
const STEPS_AHEAD: usize = 8;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The element type of the cache. A format with scales, 8 bits say, is another implementation.
pub(super) trait Stored: Copy {
    /// Zero.
    const ZERO: Self;
    /// # Safety
    ///
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector;
    /// # Safety
    ///
    /// As [`Lanes::load_partial`].
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector;
    /// # Safety
    ///
    /// As [`Lanes::store`].
    unsafe fn store<L: Lanes>(target: *mut Self, vector: L::Vector);
}

impl Stored for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_partial(source, count) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's.
        unsafe { L::store(target, vector) }
    }
}

impl Stored for u16 {
    const ZERO: Self = 0;
    #[inline(always)]
    unsafe fn load<L: Lanes>(source: *const Self) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_half(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's.
        unsafe { L::load_half_partial(source, count) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's.
        unsafe { L::store_half(target, vector) }
    }
}

/// Memory that will be read soon, in order: as much is asked for as is consumed.
pub(super) struct Ahead<'a, S> {
    panels: &'a [*const S],
    panel_bytes: usize,
    offset: usize,
}

impl<'a, S> Ahead<'a, S> {
    /// Panels of `panel_bytes` each, of which the first `distance` bytes are asked for at once.
    #[inline(always)]
    pub(super) fn start(panels: &'a [*const S], panel_bytes: usize, distance: usize) -> Self {
        let mut ahead = Self {
            panels,
            panel_bytes,
            offset: 0,
        };
        for _ in 0..distance / (LINE * STEPS_AHEAD) {
            ahead.advance(LINE * STEPS_AHEAD);
        }
        ahead
    }

    #[inline(always)]
    fn advance(&mut self, bytes: usize) {
        let [panel, rest @ ..] = self.panels else {
            return;
        };
        for line in (0..bytes).step_by(LINE) {
            prefetch(panel.cast::<u8>().wrapping_add(self.offset + line));
        }
        self.offset += bytes;
        if self.offset >= self.panel_bytes {
            self.panels = rest;
            self.offset = 0;
        }
    }
}

/// `sums[row][c] += factors[row][step] * vectors[c][step * stride..]` over all steps.
///
/// # Safety
///
/// Needs the instruction set of `L`; every factor and every whole vector named is valid to read.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    steps: usize,
    mut ahead: Option<&mut Ahead<'_, S>>,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut step = 0;
        while step + STEPS_AHEAD <= steps {
            if let Some(ahead) = &mut ahead {
                ahead.advance(STEPS_AHEAD * VECTORS * L::WIDTH * size_of::<S>());
            }
            for inner in step..step + STEPS_AHEAD {
                multiply_step::<L, S, ROWS, VECTORS>(sums, factors, (vectors, stride), inner);
            }
            step += STEPS_AHEAD;
        }
        while step < steps {
            multiply_step::<L, S, ROWS, VECTORS>(sums, factors, (vectors, stride), step);
            step += 1;
        }
    }
}

#[inline(always)]
unsafe fn multiply_step<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    step: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut loaded = [L::splat(0.0); VECTORS];
        for (loaded, vector) in loaded.iter_mut().zip(vectors) {
            *loaded = S::load::<L>(vector.add(step * stride));
        }
        for (sums, factors) in sums.iter_mut().zip(factors) {
            let factor = L::splat(*factors.add(step));
            for (sum, loaded) in sums.iter_mut().zip(loaded) {
                *sum = L::fma(factor, loaded, *sum);
            }
        }
    }
}

/// [`multiply`] with vectors of which only the first `count` lanes exist.
///
/// # Safety
///
/// As there, for `count` lanes.
#[inline(always)]
pub(super) unsafe fn multiply_partial<
    L: Lanes,
    S: Stored,
    const ROWS: usize,
    const VECTORS: usize,
>(
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    steps: usize,
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for step in 0..steps {
            let loaded = S::load_partial::<L>(vectors[0].add(step * stride), count);
            for (sum, factors) in sums.iter_mut().zip(factors) {
                sum[0] = L::fma(L::splat(*factors.add(step)), loaded, sum[0]);
            }
        }
    }
}
