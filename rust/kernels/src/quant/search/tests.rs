//! What the search promises of every format that has one.

use proptest::prelude::*;

use crate::quant::{BlockType, QuantError, decode, encode, encode_weighted};

/// Each format, and the largest error there may be beside the largest magnitude of 256 values: a step and a half of
/// its codes, where they span that magnitude on both sides.
const SEARCHED: [(BlockType, f32); 7] = [
    (BlockType::Q2K, 1.0),
    (BlockType::Q3K, 0.375),
    (BlockType::Q4K, 0.2),
    (BlockType::Q5K, 0.1),
    (BlockType::Q6K, 0.047),
    (BlockType::Iq4Nl, 0.28),
    (BlockType::Iq4Xs, 0.28),
];

/// Twice the smallest number of half precision: nothing is nearer than its scale allows.
const SMALLEST_SCALE: f32 = 1.2e-7;

/// What becomes of values.
fn stored(block_type: BlockType, values: &[f32]) -> Vec<f32> {
    let blocks = values.len() / block_type.block_elements();
    let mut bytes = vec![0xA5; blocks * block_type.block_bytes()];
    encode(block_type, values, &mut bytes).unwrap();
    let mut output = vec![f32::NAN; values.len()];
    decode(block_type, &bytes, &mut output).unwrap();
    output
}

fn typical(errors: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = errors.len() as f64;
    (errors.map(|error| f64::from(error).powi(2)).sum::<f64>() / count).sqrt()
}

fn between(first: &[f32], second: &[f32]) -> f64 {
    typical(first.iter().zip(second).map(|(a, b)| a - b))
}

/// Numbers as weights have them: most near zero, few far out.
fn weights(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / 4_294_967_296.0
    };
    let bell = std::iter::repeat_with(|| (0..8).map(|_| uniform() - 0.5).sum::<f32>() * 0.05);
    bell.take(count).collect()
}

proptest! {
    #[test]
    fn no_error_is_larger_than_a_format_allows(
        values in prop::collection::vec(-1.0_f32..1.0, 256),
        spread in 0_i32..12,
        exponent in -10_i32..12,
    ) {
        // Groups of very different sizes share a super-block.
        let values: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(index, value)| value * 2.0_f32.powi(exponent - (index as i32 / 16) * spread / 8))
            .collect();
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (block_type, bound) in SEARCHED {
            let output = stored(block_type, &values);
            for (value, output) in values.iter().zip(&output) {
                prop_assert!(
                    (value - output).abs() <= bound * largest + SMALLEST_SCALE,
                    "{block_type}: {value} became {output}, beside {largest}"
                );
            }
            // Once more changes less than it did, but for what scales of half precision resolve.
            let again = stored(block_type, &output);
            let (first, second) = (between(&values, &output), between(&output, &again));
            prop_assert!(second <= first + f64::from(largest) / 1000.0 + f64::from(SMALLEST_SCALE), "{block_type}: {second} after {first}");
        }
    }

    #[test]
    fn any_finite_numbers_have_blocks(values in prop::collection::vec(any::<f32>(), 256)) {
        let finite: Vec<f32> = values.iter().map(|value| if value.is_finite() { *value } else { 0.0 }).collect();
        for (block_type, _) in SEARCHED {
            let output = stored(block_type, &finite);
            prop_assert!(output.iter().all(|value| value.is_finite()), "{block_type}");
        }
    }
}

#[test]
fn zeros_and_what_no_half_holds_are_zeros() {
    for (block_type, _) in SEARCHED {
        for tiny in [0.0, -0.0, f32::from_bits(1), -f32::MIN_POSITIVE, 1e-20] {
            let mut bytes =
                vec![0xA5; 256 / block_type.block_elements() * block_type.block_bytes()];
            encode(block_type, &[tiny; 256], &mut bytes).unwrap();
            assert!(
                bytes.iter().all(|byte| *byte == 0),
                "{block_type}: {tiny:e}"
            );
        }
    }
}

#[test]
fn one_outlier_and_equal_values_come_back() {
    for (block_type, _) in SEARCHED {
        for outlier in [3.0, -3.0] {
            let mut values = [0.0; 256];
            values[77] = outlier;
            let output = stored(block_type, &values);
            assert!(
                (output[77] - outlier).abs() < 0.03,
                "{block_type}: {}",
                output[77]
            );
            let others = output.iter().enumerate().filter(|(index, _)| *index != 77);
            assert!(
                others.into_iter().all(|(_, value)| value.abs() < 0.03),
                "{block_type}"
            );
        }
        for same in [0.7, -0.7, 65_504.0, -0.03] {
            let output = stored(block_type, &[same; 256]);
            for value in output {
                assert!(
                    (value / same - 1.0).abs() < 0.01,
                    "{block_type}: {same} became {value}"
                );
            }
        }
    }
}

/// Twice stored is nearly once stored: the search finds the steps again that were there.
#[test]
fn what_was_stored_changes_little() {
    let values = weights(64 * 256, 7);
    for (block_type, _) in SEARCHED {
        let once = stored(block_type, &values);
        let twice = stored(block_type, &once);
        let (first, second) = (between(&values, &once), between(&once, &twice));
        assert!(
            second < 0.25 * first,
            "{block_type}: {second:e} after {first:e}"
        );
    }
}

/// Typical errors of numbers of a bell curve beside the curve's own width, as measured, and a hundredth more.
#[test]
fn errors_are_as_small_as_they_were() {
    let values = weights(64 * 256, 11);
    let width = typical(values.iter().copied());
    let expected = [0.2638, 0.1407, 0.0696, 0.0342, 0.0168, 0.0733, 0.0739];
    for ((block_type, _), expected) in SEARCHED.into_iter().zip(expected) {
        let error = between(&values, &stored(block_type, &values)) / width;
        assert!(error < 1.01 * expected, "{block_type}: {error:.4}");
    }
}

#[test]
fn what_counts_more_is_nearer() {
    let values = weights(64 * 256, 5);
    let importance: Vec<f32> = (0..values.len())
        .map(|index| if index % 7 == 0 { 100.0 } else { 1.0 })
        .collect();
    // These are searched only where it is known what errors count.
    let rounded = [(BlockType::Q4_0, 0.0), (BlockType::Q5_0, 0.0)];
    for (block_type, _) in SEARCHED.into_iter().chain(rounded) {
        let plain = stored(block_type, &values);
        let mut bytes =
            vec![0; values.len() / block_type.block_elements() * block_type.block_bytes()];
        encode_weighted(block_type, &values, Some(&importance), &mut bytes).unwrap();
        let mut output = vec![0.0; values.len()];
        decode(block_type, &bytes, &mut output).unwrap();
        let weighted = |output: &[f32]| {
            let errors = values.iter().zip(output).zip(&importance);
            typical(errors.map(|((value, output), weight)| (value - output) * weight.sqrt()))
        };
        assert!(weighted(&output) < 0.97 * weighted(&plain), "{block_type}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for (block_type, _) in SEARCHED {
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = [1.0; 512];
            values[300] = broken;
            let mut bytes = vec![0; 512 / block_type.block_elements() * block_type.block_bytes()];
            let error = encode(block_type, &values, &mut bytes).unwrap_err();
            assert_eq!(
                error,
                QuantError::NotFinite {
                    block_type,
                    index: 300
                }
            );
        }
        let mut bytes = vec![0; 256 / block_type.block_elements() * block_type.block_bytes()];
        for importance in [&[1.0; 255][..], &[-1.0; 256], &[f32::NAN; 256]] {
            let error = encode_weighted(block_type, &[1.0; 256], Some(importance), &mut bytes);
            assert!(
                matches!(error, Err(QuantError::Importance { .. })),
                "{block_type}"
            );
        }
    }
}
