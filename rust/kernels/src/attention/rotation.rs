//! Turning keys, values and queries, so that no dimension stands out.
//!
//! A few dimensions of real keys are many times as large as the others, and a scale for all of them leaves little for the
//! rest. Turned by a Hadamard matrix every dimension holds a share of each, and all are about as large. A query turned
//! the same way has the same products with the keys, and sums of values are turned back once, when all are added up. The
//! matrix is symmetric and its own inverse, so both ways are one function.

/// Numbers that the compiler takes as whole vectors.
const LANES: usize = 16;

/// Turns every `length` of the numbers, a power of two, in place. Additions come in one order, whatever the instruction set, so
/// that the bits are the same.
#[inline(always)]
pub(super) fn turn(numbers: &mut [f32], length: usize) {
    if length <= 1 {
        return;
    }
    // First, so that nothing overflows on the way: a turned number is at most as large as all were long.
    let share = 1.0 / (length as f32).sqrt();
    for number in numbers.iter_mut() {
        *number *= share;
    }
    let mut distance = 1;
    if length >= LANES {
        for vector in numbers.as_chunks_mut::<LANES>().0 {
            cross_within::<1>(vector);
            cross_within::<2>(vector);
            cross_within::<4>(vector);
            cross_within::<8>(vector);
        }
        distance = LANES;
    }
    while distance < length {
        for pair in numbers.chunks_exact_mut(2 * distance) {
            let (first, second) = pair.split_at_mut(distance);
            for (a, b) in first.iter_mut().zip(second) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        distance *= 2;
    }
}

/// Sums and differences of numbers of a vector: a distance that the compiler knows becomes a few instructions.
#[inline(always)]
fn cross_within<const DISTANCE: usize>(vector: &mut [f32; LANES]) {
    let mut index = 0;
    while index < LANES {
        if (index / DISTANCE).is_multiple_of(2) {
            let (a, b) = (vector[index], vector[index + DISTANCE]);
            (vector[index], vector[index + DISTANCE]) = (a + b, a - b);
        }
        index += 1;
    }
}

/// The largest power of two by which heads of a width can be cut.
pub(super) fn length(head_dim: usize) -> usize {
    head_dim & head_dim.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_the_product_with_the_matrix_and_its_own_inverse() {
        for head_dim in [1, 2, 6, 8, 24, 64, 80, 128, 256] {
            let length = length(head_dim);
            let given: Vec<f32> = (0..head_dim)
                .map(|index| (index as f32 * 1.7).sin())
                .collect();
            let mut turned = given.clone();
            turn(&mut turned, length);
            for (index, number) in turned.iter().enumerate() {
                let (begin, row) = (index / length * length, index % length);
                // The matrix by its definition: the sign is that of the ones which row and column have in common.
                let expected: f64 = (0..length)
                    .map(|column| {
                        let sign = if (row & column).count_ones() % 2 == 0 {
                            1.0
                        } else {
                            -1.0
                        };
                        sign * f64::from(given[begin + column])
                    })
                    .sum();
                let expected = expected / (length as f64).sqrt();
                assert!((f64::from(*number) - expected).abs() < 1e-5, "{head_dim}");
            }
            turn(&mut turned, length);
            for (back, given) in turned.iter().zip(&given) {
                assert!((back - given).abs() < 1e-6, "{head_dim}");
            }
        }
    }

    #[test]
    fn what_is_no_longer_than_a_float_stays_finite() {
        let mut numbers = [f32::MAX / 16.0; 256];
        turn(&mut numbers, 256);
        assert!(numbers.iter().all(|number| number.is_finite()));
        assert_eq!(length(96), 32);
    }
}
