//! Every operation on rows, the plain program included, against its definition in f64: the program
//! and the kernels could share a wrong formula. Inputs have large offsets, and denormals.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use ruvllm_kernels::{Activation, QuantizedRows, WEIGHT_BLOCK, WordRows, available};
use support::{Numbers, SUM_TOLERANCE, cases};

/// The least a result may be off by where it is a denormal: a few of the smallest steps.
const DENORMAL_STEPS: f64 = 1e-44;

fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..70, Just(255), Just(256), Just(257), Just(576)]
}

/// Numbers of a size, around an offset.
fn row(numbers: &mut Numbers, length: usize, (scale, offset): (f32, f32)) -> Vec<f32> {
    let values = numbers.row(length).into_iter();
    values.map(|value| value * scale + offset).collect()
}

/// Panics where a result is further from the exact one than the bound of its place.
fn check(name: &str, actual: &[f32], exact: impl Fn(usize) -> (f64, f64)) {
    for (index, actual) in actual.iter().enumerate() {
        let (expected, bound) = exact(index);
        let difference = (f64::from(*actual) - expected).abs();
        assert!(
            difference <= bound + DENORMAL_STEPS,
            "{name}[{index}]: {actual:e} against {expected:e}, allowed are {bound:e}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn softmax_is_the_share_of_exponentials(
        length in lengths(),
        seed in any::<u64>(),
        scale in select(vec![1e-40f32, 0.01, 1.0, 30.0, 1e4, 3e38]),
        offset in select(vec![0.0f32, 50.0, -1e3, 1e5, 1e7, -1e7, 1e30]),
    ) {
        let offset = if scale > 1e30 { 0.0 } else { offset };
        let input = row(&mut Numbers(seed), length, (scale, offset));
        for kernels in available() {
            let mut output = vec![f32::NAN; length];
            kernels.softmax(&input, &mut output);
            // Without a maximum, and without a sum of weights.
            check(&format!("softmax {}", kernels.name()), &output, |index| {
                let others = input.iter().map(|other| (f64::from(*other) - f64::from(input[index])).exp());
                let share = 1.0 / others.sum::<f64>();
                (share, 2e-6 * share + 1e-12)
            });
            let total: f64 = output.iter().map(|share| f64::from(*share)).sum();
            prop_assert!((total - 1.0).abs() < 2e-6, "{} {}", kernels.name(), total);
        }
    }

    #[test]
    fn log_softmax_has_the_logarithms_of_the_shares(
        length in lengths(),
        seed in any::<u64>(),
        scale in select(vec![1e-40f32, 0.01, 1.0, 30.0, 1e4]),
        offset in select(vec![0.0f32, 50.0, -1e3, 1e5, 1e7, -1e7]),
    ) {
        let input = row(&mut Numbers(seed), length, (scale, offset));
        for kernels in available() {
            let (mut logs, mut shares) = (vec![f32::NAN; length], vec![f32::NAN; length]);
            kernels.log_softmax(&input, &mut logs, &mut shares);
            let log = |index: usize| {
                let others = input.iter().map(|other| (f64::from(*other) - f64::from(input[index])).exp());
                -others.sum::<f64>().ln()
            };
            check(&format!("log_softmax {}", kernels.name()), &logs, |index| {
                let exact = log(index);
                // Where the sum of the others overflows, what is exact says nothing.
                let bound = if exact.is_finite() { 2e-6 + 2e-7 * exact.abs() } else { f64::INFINITY };
                (exact.max(f64::from(f32::MIN)), bound)
            });
            check(&format!("shares {}", kernels.name()), &shares, |index| {
                let share = log(index).exp();
                (share, 2e-6 * share + 1e-12)
            });
        }
    }

    #[test]
    fn block_maxima_pass_over_nan(length in lengths(), seed in any::<u64>(), share in 0u32..4) {
        let mut input = row(&mut Numbers(seed), length, (10.0, -5.0));
        for (index, value) in input.iter_mut().enumerate() {
            if (index as u32 * 2_654_435_761) >> 30 < share {
                *value = f32::NAN;
            }
        }
        for kernels in available() {
            let mut maxima = vec![f32::NAN; length.div_ceil(WEIGHT_BLOCK)];
            kernels.block_maxima(&input, &mut maxima);
            for (block, maximum) in input.chunks(WEIGHT_BLOCK).zip(&maxima) {
                let mut sorted: Vec<f32> = block.iter().copied().filter(|value| !value.is_nan()).collect();
                sorted.sort_unstable_by(f32::total_cmp);
                let expected = sorted.last().copied().unwrap_or(f32::NEG_INFINITY);
                prop_assert_eq!(*maximum, expected, "{}", kernels.name());
            }
        }
    }

    #[test]
    fn weight_sums_are_sums_of_exponentials(
        length in lengths(),
        seed in any::<u64>(),
        (scale, offset) in select(vec![(10.0f32, 0.0f32), (1e-40, 0.0), (30.0, 1e5), (30.0, -1e7)]),
        inverse_temperature in select(vec![0.1f32, 1.0, 1.7]),
    ) {
        let input = row(&mut Numbers(seed), length, (scale, offset));
        let maximum = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for kernels in available() {
            let mut sums = vec![f32::NAN; length.div_ceil(WEIGHT_BLOCK)];
            kernels.weight_sums(&input, (maximum, inverse_temperature), &mut sums);
            check(&format!("weight_sums {}", kernels.name()), &sums, |block| {
                let values = input.chunks(WEIGHT_BLOCK).nth(block).unwrap().iter();
                let distances = values.map(|value| f64::from(*value) - f64::from(maximum));
                let sum = distances.map(|distance| (distance * f64::from(inverse_temperature)).exp()).sum();
                (sum, 1e-5 * sum + 1e-30)
            });
        }
    }

    #[test]
    fn rms_norm_divides_by_the_root_of_the_mean_square(
        length in lengths(),
        seed in any::<u64>(),
        (scale, offset) in select(vec![(1.0f32, 0.0f32), (1e-40, 0.0), (1e-25, 0.0), (1.0, 1e4), (1e4, -1e7), (1e15, 0.0)]),
    ) {
        let mut numbers = Numbers(seed);
        let (input, weight) = (row(&mut numbers, length, (scale, offset)), numbers.row(length));
        let squares: f64 = input.iter().map(|value| f64::from(*value).powi(2)).sum();
        let root = (squares / length as f64 + f64::from(1e-5f32)).sqrt();
        for kernels in available() {
            let mut output = vec![f32::NAN; length];
            kernels.rms_norm(&input, &weight, 1e-5, &mut output);
            check(&format!("rms_norm {}", kernels.name()), &output, |index| {
                let normed = f64::from(input[index]) / root * f64::from(weight[index]);
                (normed, f64::from(SUM_TOLERANCE) * normed.abs())
            });
        }
    }

    #[test]
    fn gates_are_their_definitions(
        length in lengths(),
        seed in any::<u64>(),
        (scale, offset) in select(vec![(8.0f32, 0.0f32), (1e-40, 0.0), (1e-3, 0.0), (100.0, 0.0), (1.0, 1e7), (1.0, -1e7), (1e13, 0.0)]),
    ) {
        let mut numbers = Numbers(seed);
        let (gate, up) = (row(&mut numbers, length, (scale, offset)), numbers.row(length));
        for kernels in available() {
            for activation in [Activation::Silu, Activation::GeluTanh] {
                let mut output = vec![f32::NAN; length];
                kernels.gate(activation, &gate, &up, &mut output);
                check(&format!("{activation:?} {}", kernels.name()), &output, |index| {
                    let (x, up) = (f64::from(gate[index]), f64::from(up[index]));
                    let slope = match activation {
                        Activation::Silu => 1.0 / (1.0 + (-x).exp()),
                        Activation::GeluTanh => {
                            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                            0.5 * (1.0 + inner.tanh())
                        }
                    };
                    // Where the slope is near 0, one less another number near 1 is all that is left of it.
                    (x * slope * up, 3e-6 * (x * slope * up).abs() + 3e-7 * (x * up).abs())
                });
            }
        }
    }

    #[test]
    fn soft_caps_are_their_definition(
        length in lengths(),
        seed in any::<u64>(),
        cap in select(vec![5.0f32, 30.0, 50.0]),
        (scale, offset) in select(vec![(8.0f32, 0.0f32), (1e-40, 0.0), (1e-3, 0.0), (1.0, 1e7), (1e30, 0.0)]),
    ) {
        let input = row(&mut Numbers(seed), length, (scale, offset));
        for kernels in available() {
            let mut output = input.clone();
            kernels.soft_cap(&mut output, cap);
            check(&format!("soft_cap {}", kernels.name()), &output, |index| {
                let cap = f64::from(cap);
                let capped = cap * (f64::from(input[index]) / cap).tanh();
                (capped, 3e-7 * cap + 3e-6 * capped.abs())
            });
        }
    }

    #[test]
    fn rotation_turns_by_the_angle(
        half in 1usize..70,
        seed in any::<u64>(),
        scale in select(vec![1e-40f32, 1.0, 1e7]),
    ) {
        let mut numbers = Numbers(seed);
        let input = row(&mut numbers, 2 * half, (scale, 0.0));
        let angles: Vec<f32> = numbers.row(half).iter().map(|value| value * 3.0).collect();
        let (cosines, sines): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| (angle.cos(), angle.sin())).unzip();
        for kernels in available() {
            let mut output = input.clone();
            kernels.rotate(&mut output, 2 * half, &cosines, &sines);
            check(&format!("rotate {}", kernels.name()), &output, |index| {
                // A turn in polar coordinates.
                let (x, y) = (f64::from(input[index % half]), f64::from(input[index % half + half]));
                let (radius, turned) = (x.hypot(y), y.atan2(x) + f64::from(angles[index % half]));
                let part = if index < half { turned.cos() } else { turned.sin() };
                (radius * part, 3e-7 * radius)
            });
        }
    }

    #[test]
    fn small_activations_keep_their_scale(
        seed in any::<u64>(),
        scale in select(vec![0.0f32, 1e-44, 1e-40, 3e-37, 1e-36, 1e-30, 1e-10, 1e30]),
    ) {
        let input = row(&mut Numbers(seed), 64, (scale, 0.0));
        // Below this, 127 or 8191 over it is infinite: such a block is as good as zeros.
        let least = |largest: f32| f64::from(largest) / f64::from(f32::MAX);
        for kernels in available() {
            let (mut rows, mut words) = (QuantizedRows::default(), WordRows::default());
            rows.reset(1, input.len());
            for mut target in rows.rows_mut() {
                kernels.quantize(&input, &mut target);
                let restored: Vec<f32> = (0..64).map(|i| target.scales[i / 32] * f32::from(target.quants[i])).collect();
                check(&format!("quantize {}", kernels.name()), &restored, |index| {
                    (f64::from(input[index]), 0.501 * f64::from(target.scales[index / 32]) + least(127.0))
                });
            }
            words.reset(1, input.len());
            for mut target in words.chunks_mut(1).flatten() {
                kernels.quantize_words(&input, &mut target);
                let restored: Vec<f32> = (0..64).map(|i| target.scales[i / 32] * f32::from(target.words[i])).collect();
                check(&format!("quantize_words {}", kernels.name()), &restored, |index| {
                    (f64::from(input[index]), 0.501 * f64::from(target.scales[index / 32]) + least(8191.0))
                });
            }
        }
    }
}
