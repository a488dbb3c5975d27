//! Scales alone: codes stand for `scale * code`, and a scale may be negative.

use super::groups::Groups;
use super::side::Side;

/// How often the best is fitted anew to the codes that are nearest to it.
const FITS: usize = 2;

/// The codes of a format.
pub(in crate::quant) trait Codes {
    /// The one farthest from zero.
    const FARTHEST: f32;
    /// Where the largest magnitude of a group may come to lie, as multiples of the farthest code.
    const STRETCHES: &[f32];

    /// The code that is nearest.
    fn nearest<const G: usize>(value: Side<G>) -> Side<G>;
}

/// Whole numbers `-N..N`.
pub(in crate::quant) struct Whole<const N: u8>;

impl<const N: u8> Codes for Whole<N> {
    const FARTHEST: f32 = -(N as f32);
    const STRETCHES: &[f32] = if N < 8 {
        &[
            0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, -0.95, -0.85, -0.75,
        ]
    } else if N < 32 {
        &[
            0.88, 0.91, 0.94, 0.97, 1.0, 1.02, 1.05, 1.08, -0.86, -0.89, -0.92, -0.95,
        ]
    } else {
        &[
            0.966, 0.975, 0.984, 0.992, 1.0, 1.008, 1.016, 1.025, -0.972, -0.96,
        ]
    };

    #[inline(always)]
    fn nearest<const G: usize>(value: Side<G>) -> Side<G> {
        let lowest = Side::splat(-f32::from(N));
        value
            .rounded()
            .most(lowest)
            .least(Side::splat(f32::from(N) - 1.0))
    }
}

/// What was chosen for a super-block.
pub(in crate::quant) struct Scaled<const G: usize, const E: usize> {
    /// Base of the scales, as it is stored.
    pub(in crate::quant) base: [u8; 2],
    /// The scale of each group.
    pub(in crate::quant) scales: [i8; G],
    /// Element by element.
    pub(in crate::quant) codes: [Side<G>; E],
}

/// The scales of groups, stored as multiples `-limit..limit` of their base.
#[inline(always)]
pub(in crate::quant) fn choose<C: Codes, const G: usize, const E: usize>(
    groups: &Groups<G, E>,
    limit: f32,
) -> Scaled<G, E> {
    let wanted = search::<C, G, E>(groups);
    let farthest = wanted.0.iter().fold(0.0_f32, |farthest, &scale| {
        if scale.abs() > farthest.abs() {
            scale
        } else {
            farthest
        }
    });
    let (base_bytes, base) = groups.half(farthest / -limit);
    let (lowest, highest) = (Side::splat(-limit), Side::splat(limit - 1.0));
    let first = wanted.times(Side::splat(base).inverse()).rounded();
    let (mut best, mut least) = (first, Side::splat(f32::MAX));
    for step in [0.0, -1.0, 1.0] {
        let scale = first.plus(Side::splat(step)).most(lowest).least(highest);
        let error = error_of::<C, G, E>(groups, scale.times(Side::splat(base)));
        best = error.below(least, scale, best);
        least = error.least(least);
    }
    let inverse = best.times(Side::splat(base)).inverse();
    Scaled {
        base: base_bytes,
        scales: best.0.map(|scale| scale as i8),
        codes: groups.values.map(|value| C::nearest(value.times(inverse))),
    }
}

/// Scales that are stored each by itself, in half precision: their bytes, and the codes.
#[inline(always)]
pub(in crate::quant) fn choose_each<C: Codes, const G: usize, const E: usize>(
    groups: &Groups<G, E>,
) -> ([[u8; 2]; G], [Side<G>; E]) {
    let halves = search::<C, G, E>(groups).0.map(|scale| groups.half(scale));
    let inverse = Side(halves.map(|(_, scale)| scale)).inverse();
    let codes = groups.values.map(|value| C::nearest(value.times(inverse)));
    (halves.map(|(bytes, _)| bytes), codes)
}

#[inline(always)]
fn error_of<C: Codes, const G: usize, const E: usize>(
    groups: &Groups<G, E>,
    scale: Side<G>,
) -> Side<G> {
    let inverse = scale.inverse();
    let mut sum = Side::splat(0.0);
    for (value, weight) in groups.values.iter().zip(&groups.weights) {
        let error = value.minus(C::nearest(value.times(inverse)).times(scale));
        sum = sum.plus(error.times(error).times(*weight));
    }
    sum
}

/// The scale of least error among those that are tried.
#[inline(always)]
fn search<C: Codes, const G: usize, const E: usize>(groups: &Groups<G, E>) -> Side<G> {
    let zero = Side::splat(0.0);
    let (mut low, mut high) = (zero, zero);
    for value in groups.values {
        low = low.least(value);
        high = high.most(value);
    }
    let farthest = zero.minus(low).below(high, high, low);
    let per_code = farthest.inverse().times(Side::splat(C::FARTHEST));
    let (mut scale, mut explained) = (zero, zero);
    let mut consider = |inverse: Side<G>, scale: Side<G>| {
        let (mut squares, mut products) = (zero, zero);
        for (value, weight) in groups.values.iter().zip(&groups.weights) {
            let code = C::nearest(value.times(inverse));
            let weighted = code.times(*weight);
            squares = squares.plus(weighted.times(code));
            products = products.plus(weighted.times(*value));
        }
        let fitted = products.times(squares.inverse());
        let found = fitted.times(products);
        let scale = explained.below(found, fitted, scale);
        explained = explained.most(found);
        scale
    };
    for &stretch in C::STRETCHES {
        scale = consider(per_code.times(Side::splat(stretch)), scale);
    }
    for _ in 0..FITS {
        scale = consider(scale.inverse(), scale);
    }
    scale
}
