//! The scales of keys and values as integers: one a vector, which so depends on no other token.

/// The length of a vector that is measured by its length, in units. By the inequality of Cauchy and Schwarz the product
/// of two such fits into 32 bits, however many dimensions they have: each is longer by half a unit a dimension at most.
const MOST_LENGTH: f32 = 32_766.0;
/// A vector of smaller numbers is stored as zeros; the inverse of its scale would be infinite.
const LEAST_MAGNITUDE: f32 = 1e-30;

/// What a half of a byte can hold.
pub(super) const LEAST_HALF: f32 = -8.0;
pub(super) const MOST_HALF: f32 = 7.0;
/// The shares of the largest magnitude that halves may reach to.
const HALF_CUTS: [f32; 5] = [1.0, 0.92, 0.84, 0.76, 0.68];

/// What turns a vector of floats into integers, and back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// An integer's unit; NaN where a number of the vector is infinite or none.
    pub(super) unit: f32,
    /// Integers of a float's unit.
    pub(super) inverse: f32,
}

impl Scale {
    /// Of what is stored as it is.
    pub(super) const NONE: Self = Self {
        unit: 1.0,
        inverse: 1.0,
    };

    /// The scale that makes the largest magnitude `most`.
    #[inline(always)]
    pub(super) fn of_largest(vector: &[f32], most: f32) -> Self {
        Self::new(Self::largest(vector), most)
    }

    /// The scale that makes the vector [`MOST_LENGTH`] long.
    #[inline(always)]
    pub(super) fn of_length(vector: &[f32]) -> Self {
        let largest = Self::largest(vector);
        if !(LEAST_MAGNITUDE..f32::INFINITY).contains(&largest) {
            return Self::new(largest, MOST_LENGTH);
        }
        // The same sixteen sums on every instruction set, of what can neither overflow nor vanish.
        let inverse = 1.0 / largest;
        let mut sums = [0.0f32; 16];
        for numbers in vector.chunks(sums.len()) {
            for (sum, number) in sums.iter_mut().zip(numbers) {
                let share = number * inverse;
                *sum += share * share;
            }
        }
        let total: f32 = sums.iter().sum();
        Self::new(largest, MOST_LENGTH / total.sqrt())
    }

    /// The scale for halves of a byte, odd numbers of units up to 15, whose error over the vector is the smallest of a few:
    /// what stands out may be cut off for the sake of the rest. The unit is the one that fits the numbers best then.
    #[inline(always)]
    pub(super) fn of_halves(vector: &[f32]) -> Self {
        let largest = Self::largest(vector);
        let mut best = Self::new(largest, 16.0);
        if !(LEAST_MAGNITUDE..f32::INFINITY).contains(&largest) {
            return best;
        }
        let mut most = f32::NEG_INFINITY;
        for cut in HALF_CUTS {
            let inverse = 8.0 / (largest * cut);
            // The same sixteen sums on every instruction set.
            let (mut products, mut squares) = ([0.0f32; 16], [0.0f32; 16]);
            for numbers in vector.chunks(16) {
                for (lane, number) in numbers.iter().enumerate() {
                    let odd = 2.0 * half(*number, inverse) + 1.0;
                    products[lane] += odd * (number / largest);
                    squares[lane] += odd * odd;
                }
            }
            let [product, square] = [products, squares].map(|sums| sums.iter().sum::<f32>());
            // The error is what this leaves of the vector's own square.
            let covered = product * (product / square);
            if covered > most {
                most = covered;
                best = Self {
                    unit: product / square * largest,
                    inverse,
                };
            }
        }
        best
    }

    /// A unit, and how many of it are a float's.
    #[inline(always)]
    pub(super) fn of(unit: f32, inverse: f32) -> Self {
        Self { unit, inverse }
    }

    /// The largest magnitude; NaN where one is none.
    #[inline(always)]
    pub(super) fn largest(vector: &[f32]) -> f32 {
        // Bits of magnitudes are ordered as the magnitudes are, with NaN above all.
        let bits = |value: &f32| value.abs().to_bits();
        f32::from_bits(vector.iter().map(bits).fold(0, u32::max))
    }

    /// The scale under which `largest` becomes `units`.
    #[inline(always)]
    fn new(largest: f32, units: f32) -> Self {
        let (unit, inverse) = if !largest.is_finite() {
            (f32::NAN, 0.0)
        } else if largest < LEAST_MAGNITUDE {
            (0.0, 0.0)
        } else {
            (largest / units, units / largest)
        };
        Self { unit, inverse }
    }

    /// The half of a byte that a number becomes: the plain program.
    pub(super) fn half(self, value: f32) -> f32 {
        half(value, self.inverse)
    }

    /// One number as it is stored: the plain program.
    pub(super) fn integer(self, value: f32, most: f32) -> f32 {
        let scaled = (value * self.inverse).round_ties_even();
        // What is no number becomes the largest integer here and in every vector.
        if scaled < most { scaled } else { most }
    }
}

/// The half, -8..=7, whose odd number `2 * half + 1` is nearest; what is no number becomes the largest.
#[inline(always)]
fn half(value: f32, inverse: f32) -> f32 {
    let rounded = (value * inverse - 0.5).round_ties_even();
    let cut = if rounded < MOST_HALF {
        rounded
    } else {
        MOST_HALF
    };
    if cut > LEAST_HALF { cut } else { LEAST_HALF }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: f32 = 127.0;

    #[test]
    fn a_vector_fills_the_integers_whatever_its_size() {
        for largest in [1e-30, 1e-20, 0.3, 1.0, 65504.0, f32::MAX] {
            let vector = [largest, -largest, largest * 0.5, 0.0];
            let scale = Scale::of_largest(&vector, MOST);
            assert!(scale.unit.is_finite() && scale.inverse.is_finite());
            let integers = vector.map(|value| scale.integer(value, MOST));
            assert_eq!(integers, [127.0, -127.0, 64.0, 0.0]);
            let ratio = f64::from(scale.unit) * f64::from(MOST) / f64::from(largest);
            assert!((ratio - 1.0).abs() < 1e-6);
            // 3 : 4 : 12 is 13 long, however long that is.
            let vector = [3.0, -4.0, 12.0].map(|side| side / 12.0 * largest);
            let scale = Scale::of_length(&vector);
            let integers = vector.map(|value| scale.integer(value, MOST_LENGTH));
            assert_eq!(integers, [7561.0, -10082.0, 30246.0]);
        }
    }

    #[test]
    fn vectors_without_a_scale() {
        let scales = |vector: &[f32]| [Scale::of_largest(vector, MOST), Scale::of_length(vector)];
        for vector in [[0.0, -0.0], [1e-40, -9e-31]] {
            for scale in scales(&vector) {
                assert_eq!((scale.unit, scale.integer(vector[1], MOST)), (0.0, 0.0));
            }
        }
        for strange in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for scale in scales(&[1.0, strange, 2.0]) {
                assert!(scale.unit.is_nan());
                let integers = [scale.integer(1.0, MOST), scale.integer(strange, MOST)];
                assert_eq!(integers, [0.0, 127.0]);
            }
        }
    }

    /// The squared error of a vector in halves.
    fn error(vector: &[f32], scale: Scale) -> f32 {
        let errors = vector.iter().map(|number| {
            let error = number - scale.unit * (2.0 * scale.half(*number) + 1.0);
            error * error
        });
        errors.sum()
    }

    /// Against sixteen levels from end to end, which is what the largest magnitude alone would make.
    #[test]
    fn halves_cut_off_what_stands_out_for_the_sake_of_the_rest() {
        let mut vector: Vec<f32> = (0..1024).map(|index| (index as f32 * 1.7).sin()).collect();
        vector[9] = 2.2;
        let end_to_end = Scale {
            unit: 2.2 / 16.0,
            inverse: 8.0 / 2.2,
        };
        let found = Scale::of_halves(&vector);
        assert!(found.inverse > 1.2 * end_to_end.inverse);
        assert!(error(&vector, found) < 0.7 * error(&vector, end_to_end));
        // The levels themselves come back.
        let levels: Vec<f32> = (-8..8)
            .map(|half| 0.3 * (2.0 * half as f32 + 1.0))
            .collect();
        let found = Scale::of_halves(&levels);
        assert!(error(&levels, found) < 1e-10, "{found:?}");
    }

    #[test]
    fn halves_of_vectors_without_a_scale() {
        assert_eq!(Scale::of_halves(&[0.0, -0.0]).unit, 0.0);
        assert_eq!(Scale::of_halves(&[1e-40]).unit, 0.0);
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let scale = Scale::of_halves(&[1.0, strange]);
            assert!(scale.unit.is_nan());
            assert_eq!((scale.half(1.0), scale.half(f32::NAN)), (0.0, 7.0));
        }
        let scale = Scale::of_halves(&[f32::MAX, -f32::MAX, 1.0]);
        assert!(scale.unit.is_finite() && scale.unit > 0.0);
    }

    #[test]
    fn products_of_two_as_long_as_can_be_fit_into_32_bits() {
        for dimensions in [1, 2, 63, 128, 4096] {
            for numbers in [
                vec![1.0; dimensions],
                [vec![0.0; dimensions - 1], vec![3.5]].concat(),
            ] {
                let scale = Scale::of_length(&numbers);
                let integers = numbers
                    .iter()
                    .map(|value| scale.integer(*value, f32::from(i16::MAX)) as i64);
                let product: i64 = integers.map(|integer| integer * integer).sum();
                assert!(product <= i64::from(i32::MAX), "{dimensions}");
                assert!(product > 1 << 29, "{dimensions}: {product}");
            }
        }
    }
}
