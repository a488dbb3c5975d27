//! Scales and minima: codes `0..=most` stand for `scale * code - minimum`, neither of both negative.

use super::groups::Groups;
use super::side::Side;

/// Ranges that are tried: how many codes more than there are the values would span.
const STRETCHES: [f32; 11] = [-1.2, -0.9, -0.6, -0.3, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2];
/// How often the best is fitted anew to the codes that are nearest to it.
const FITS: usize = 2;
/// Of a determinant, what rounding leaves where all codes are the same.
const SAME_CODE: f32 = 1e-5;

/// What was chosen for a super-block.
pub(in crate::quant) struct Affine<const G: usize, const E: usize> {
    /// Base of the scales and base of the minima, as they are stored.
    pub(in crate::quant) bases: [[u8; 2]; 2],
    /// The scale of each group.
    pub(in crate::quant) scales: [u8; G],
    /// Its minimum.
    pub(in crate::quant) minima: [u8; G],
    /// Element by element.
    pub(in crate::quant) codes: [Side<G>; E],
}

/// A line through the points of each group.
#[derive(Clone, Copy)]
struct Line<const G: usize> {
    scale: Side<G>,
    /// What it gives for code 0, never above 0.
    start: Side<G>,
    error: Side<G>,
}

/// Sums over a group's elements, weighted: of themselves and of their codes.
struct Sums<const G: usize> {
    weight: Side<G>,
    value: Side<G>,
    square: Side<G>,
}

/// The scales and minima of groups whose codes are `0..=most`, stored as multiples of their bases up to `limit`.
#[inline(always)]
pub(in crate::quant) fn choose<const G: usize, const E: usize>(
    groups: &Groups<G, E>,
    most: f32,
    limit: f32,
) -> Affine<G, E> {
    let line = search(groups, most);
    let zero = Side::splat(0.0);
    let minimum = zero.minus(line.start);
    let (scale_bytes, scale_base) = groups.half(line.scale.peak() / limit);
    let (minimum_bytes, minimum_base) = groups.half(minimum.peak() / limit);
    let grid = |wanted: Side<G>, base: f32| {
        let steps = wanted.times(Side::splat(base).inverse()).rounded();
        steps.most(zero).least(Side::splat(limit))
    };
    let (first_scale, first_minimum) = (grid(line.scale, scale_base), grid(minimum, minimum_base));
    let mut best = Line {
        scale: first_scale,
        start: first_minimum,
        error: Side::splat(f32::MAX),
    };
    for scale_step in [0.0, -1.0, 1.0] {
        let scale = first_scale.plus(Side::splat(scale_step));
        let scale = scale.most(zero).least(Side::splat(limit));
        for minimum_step in [0.0, -1.0, 1.0] {
            let minimum = first_minimum.plus(Side::splat(minimum_step));
            let minimum = minimum.most(zero).least(Side::splat(limit));
            let error = error_of(
                groups,
                most,
                scale.times(Side::splat(scale_base)),
                minimum.times(Side::splat(minimum_base)),
            );
            best = Line {
                scale: error.below(best.error, scale, best.scale),
                start: error.below(best.error, minimum, best.start),
                error: error.least(best.error),
            };
        }
    }
    let scale = best.scale.times(Side::splat(scale_base));
    let minimum = best.start.times(Side::splat(minimum_base));
    let inverse = scale.inverse();
    Affine {
        bases: [scale_bytes, minimum_bytes],
        scales: best.scale.0.map(|scale| scale as u8),
        minima: best.start.0.map(|minimum| minimum as u8),
        codes: groups
            .values
            .map(|value| code(value.plus(minimum), inverse, most)),
    }
}

#[inline(always)]
fn code<const G: usize>(above: Side<G>, inverse: Side<G>, most: f32) -> Side<G> {
    let code = above.times(inverse).rounded();
    code.most(Side::splat(0.0)).least(Side::splat(most))
}

#[inline(always)]
fn error_of<const G: usize, const E: usize>(
    groups: &Groups<G, E>,
    most: f32,
    scale: Side<G>,
    minimum: Side<G>,
) -> Side<G> {
    let inverse = scale.inverse();
    let mut sum = Side::splat(0.0);
    for (value, weight) in groups.values.iter().zip(&groups.weights) {
        let above = value.plus(minimum);
        let error = above.minus(code(above, inverse, most).times(scale));
        sum = sum.plus(error.times(error).times(*weight));
    }
    sum
}

/// The line of least error among those that are tried.
#[inline(always)]
fn search<const G: usize, const E: usize>(groups: &Groups<G, E>, most: f32) -> Line<G> {
    let zero = Side::splat(0.0);
    let (mut low, mut high) = (zero, groups.values[0]);
    let mut sums = Sums {
        weight: zero,
        value: zero,
        square: zero,
    };
    for (value, weight) in groups.values.iter().zip(&groups.weights) {
        low = low.least(*value);
        high = high.most(*value);
        let weighted = value.times(*weight);
        sums.weight = sums.weight.plus(*weight);
        sums.value = sums.value.plus(weighted);
        sums.square = sums.square.plus(weighted.times(*value));
    }
    let codes_per_span = high.minus(low).inverse();
    let mut best = Line {
        scale: zero,
        start: low,
        error: Side::splat(f32::MAX),
    };
    for stretch in STRETCHES {
        let inverse = codes_per_span.times(Side::splat(most + stretch));
        best = better(best, fitted(groups, &sums, most, (inverse, low)));
    }
    for _ in 0..FITS {
        let again = fitted(groups, &sums, most, (best.scale.inverse(), best.start));
        best = better(best, again);
    }
    best
}

#[inline(always)]
fn better<const G: usize>(first: Line<G>, second: Line<G>) -> Line<G> {
    Line {
        scale: second.error.below(first.error, second.scale, first.scale),
        start: second.error.below(first.error, second.start, first.start),
        error: second.error.least(first.error),
    }
}

/// The line of least squares through the points that the codes of another one give; `line` is the inverse of its
/// scale, and where it starts.
#[inline(always)]
fn fitted<const G: usize, const E: usize>(
    groups: &Groups<G, E>,
    sums: &Sums<G>,
    most: f32,
    (inverse, start): (Side<G>, Side<G>),
) -> Line<G> {
    let zero = Side::splat(0.0);
    let (mut codes, mut squares, mut products) = (zero, zero, zero);
    for (value, weight) in groups.values.iter().zip(&groups.weights) {
        let code = code(value.minus(start), inverse, most);
        let weighted = code.times(*weight);
        codes = codes.plus(weighted);
        squares = squares.plus(weighted.times(code));
        products = products.plus(weighted.times(*value));
    }
    let determinant = sums.weight.times(squares);
    let least = determinant
        .times(Side::splat(SAME_CODE))
        .plus(Side::splat(f32::MIN_POSITIVE));
    let determinant = determinant.minus(codes.times(codes));
    let scale = sums.weight.times(products).minus(sums.value.times(codes));
    let start = squares.times(sums.value).minus(codes.times(products));
    let per = determinant.inverse();
    let (scale, start) = (scale.times(per), start.times(per));
    // A single code leaves one of both open: with zero there is a start alone, else the line begins at zero.
    let level = sums.value.times(sums.weight.inverse());
    let alone = squares.below(Side::splat(f32::MIN_POSITIVE), level, zero);
    let start = determinant.below(least, alone, start);
    // A start above zero cannot be stored: then the line begins there, too.
    let through_zero = products.times(squares.inverse());
    let scale = determinant.below(least, through_zero, scale);
    let scale = zero.below(start, through_zero, scale);
    let start = start.least(zero);
    // Neither can a scale below zero; nothing is explained by one.
    let scale = scale.most(zero);
    let explained = scale.times(products).plus(start.times(sums.value));
    let own = scale.times(scale).times(squares);
    let own = own.plus(start.times(start).times(sums.weight));
    let both = scale.times(start).times(codes);
    let own = own.plus(both.plus(both));
    Line {
        scale,
        start,
        error: sums.square.minus(explained.plus(explained)).plus(own),
    }
}
