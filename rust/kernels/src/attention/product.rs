//! The register tile under both halves of attention: a few rows of numbers times vectors of the cache.
//!
//! Scores are queries times keys, results are weights times values; in both, one number of each row
//! meets vectors that stand `stride` apart, and every lane of every row is a chain of its own. So
//! what a lane computes does not depend on how many rows and vectors a tile has.

use super::scale::{self, LARGEST_BYTE};
use crate::simd::{Lanes, prefetch};

/// Steps between two requests for memory ahead.
const STEPS_AHEAD: usize = 8;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The element type of the cache.
///
/// Where it has scales, a sum over one token's numbers, or a token's weight, is multiplied by the
/// token's scale, and the loops over numbers know nothing of it.
pub(crate) trait Stored: Copy {
    /// Zero.
    const ZERO: Self;
    /// Whether each token's key and value has a scale.
    const HAS_SCALES: bool = false;
    /// Writes a scale to its place among those of a head.
    fn write_scale(_scales: &mut [Self], _place: usize, _unit: f32) {}
    /// # Safety
    ///
    /// As [`Lanes::load`].
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector;
    /// # Safety
    ///
    /// As [`Lanes::load_partial`].
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector;
    /// # Safety
    ///
    /// As [`Lanes::store`].
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector);
}

impl Stored for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_partial(source, count) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store(target, vector) }
    }
}

impl Stored for u16 {
    const ZERO: Self = 0;
    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_half(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_half_partial(source, count) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_half(target, vector) }
    }
}

impl Stored for i8 {
    const ZERO: Self = 0;
    const HAS_SCALES: bool = true;
    #[inline(always)]
    fn write_scale(scales: &mut [Self], place: usize, unit: f32) {
        scale::write(scales, place, unit);
    }
    #[inline(always)]
    unsafe fn load<L: Lanes>(lanes: L, source: *const Self) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_bytes(source) }
    }
    #[inline(always)]
    unsafe fn load_partial<L: Lanes>(lanes: L, source: *const Self, count: usize) -> L::Vector {
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.load_bytes_partial(source, count) }
    }
    /// As `Scale::byte`: the smaller one of a vector is the second where the first is no number.
    #[inline(always)]
    unsafe fn store<L: Lanes>(lanes: L, target: *mut Self, vector: L::Vector) {
        let bounded = lanes.min(lanes.round(vector), lanes.splat(LARGEST_BYTE));
        // SAFETY: the caller's pointer is what the method of `Lanes` asks for, element for element.
        unsafe { lanes.store_bytes(target, bounded) }
    }
}

/// Memory that will be read soon, in order: as much is asked for as is consumed.
pub(super) struct Ahead<'a, S> {
    panels: &'a [&'a [S]],
    /// Bytes of the first panel that were asked for.
    offset: usize,
}

impl<'a, S> Ahead<'a, S> {
    /// Panels of which the first `distance` bytes are asked for at once.
    #[inline(always)]
    pub(super) fn start(panels: &'a [&'a [S]], distance: usize) -> Self {
        let mut ahead = Self { panels, offset: 0 };
        ahead.advance(distance);
        ahead
    }

    /// Asks for the next `bytes`.
    #[inline(always)]
    pub(super) fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let [panel, rest @ ..] = self.panels else {
                return;
            };
            let wanted = bytes.min(size_of_val(*panel) - self.offset);
            let begin = panel.as_ptr().cast::<u8>().wrapping_add(self.offset);
            for line in (0..wanted).step_by(LINE) {
                prefetch(begin.wrapping_add(line));
            }
            bytes -= wanted;
            self.offset += wanted;
            if self.offset == size_of_val(*panel) {
                self.panels = rest;
                self.offset = 0;
            }
        }
    }
}

/// `sums[row][c] += factors[row][step] * vectors[c][step * stride..]` over all steps.
///
/// # Safety
///
/// Every factor and every whole vector named is valid to read.
#[inline(always)]
pub(super) unsafe fn multiply<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    (steps, mut ahead): (usize, Option<&mut Ahead<'_, S>>),
) {
    // SAFETY: each step is below `steps`, of which the caller has factors and vectors.
    unsafe {
        let mut step = 0;
        while step + STEPS_AHEAD <= steps {
            if let Some(ahead) = &mut ahead {
                ahead.advance(STEPS_AHEAD * VECTORS * L::WIDTH * size_of::<S>());
            }
            for inner in step..step + STEPS_AHEAD {
                multiply_step(lanes, sums, factors, (vectors, stride), inner);
            }
            step += STEPS_AHEAD;
        }
        while step < steps {
            multiply_step(lanes, sums, factors, (vectors, stride), step);
            step += 1;
        }
    }
}

/// # Safety
///
/// As [`multiply`], for one step.
#[inline(always)]
unsafe fn multiply_step<L: Lanes, S: Stored, const ROWS: usize, const VECTORS: usize>(
    lanes: L,
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    step: usize,
) {
    // SAFETY: one vector behind each pointer, `step` strides on, and one factor of each row: the caller has both.
    unsafe {
        let mut loaded = [lanes.splat(0.0); VECTORS];
        for (loaded, vector) in loaded.iter_mut().zip(vectors) {
            *loaded = S::load(lanes, vector.add(step * stride));
        }
        for (sums, factors) in sums.iter_mut().zip(factors) {
            let factor = lanes.splat(*factors.add(step));
            for (sum, loaded) in sums.iter_mut().zip(loaded) {
                *sum = lanes.fma(factor, loaded, *sum);
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
    lanes: L,
    sums: &mut [[L::Vector; VECTORS]; ROWS],
    factors: &[*const f32; ROWS],
    (vectors, stride): (&[*const S; VECTORS], usize),
    (steps, count): (usize, usize),
) {
    // SAFETY: each step is below `steps`, and no more than `count` lanes of a vector are read.
    unsafe {
        for step in 0..steps {
            let loaded = S::load_partial(lanes, vectors[0].add(step * stride), count);
            for (sum, factors) in sums.iter_mut().zip(factors) {
                sum[0] = lanes.fma(lanes.splat(*factors.add(step)), loaded, sum[0]);
            }
        }
    }
}
