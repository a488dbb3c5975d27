//! Rotary frequencies against values computed with numpy, in float32, from transformers' formulas:
//!
//! ```python
//! f = np.float32
//! powers  = f(base) ** (np.arange(0, dim, 2, dtype=f) / f(dim))
//! default = f(1) / powers
//! linear  = default / f(factor)
//! dynamic = default, with base * (factor * max(seq, context) / context - (factor - 1)) ** (dim / (dim - 2))
//! yarn    = f(1) / (f(factor) * powers) * ramp + default * (1 - ramp)
//!           ramp = clip((arange(dim // 2) - low) / (high - low), 0, 1)
//!           low, high = floor(pair(beta_fast)), ceil(pair(beta_slow))
//!           pair(r) = dim * log(context / (r * 2 * pi)) / (2 * log(base))
//! llama3  = default / factor where 2 * pi / default > context / low
//!           default where 2 * pi / default < context / high
//!           (1 - s) * default / factor + s * default between, s = (context / (2 * pi / default) - low) / (high - low)
//! longrope = f(1) / (factors * powers)
//! ```

use ruvllm_core::model::rope::RopeRegime;
use ruvllm_core::model::spec::{RopeScaling, RopeSpec, YarnScaling};

fn rope(base: f32, dimensions: usize, scaling: RopeScaling) -> RopeSpec {
    RopeSpec {
        base,
        dimensions,
        scaling,
    }
}

#[track_caller]
fn assert_close(found: f32, expected: f32, what: &str) {
    let error = (f64::from(found) - f64::from(expected)).abs();
    let allowed = 1e-6 * f64::from(expected).abs();
    assert!(error <= allowed, "{what}: {found:e}, expected {expected:e}");
}

/// Every pair that `expected` names; prints all rows that differ before it fails.
#[track_caller]
fn assert_inverse(rope: &RopeSpec, sequence_length: usize, expected: &[(usize, f32)]) {
    let frequencies = rope.frequencies(sequence_length);
    assert_eq!(frequencies.inverse.len(), rope.dimensions / 2);
    for (pair, value) in expected {
        let what = format!("{:?}, pair {pair} at {sequence_length}", rope.scaling);
        assert_close(frequencies.inverse[*pair], *value, &what);
    }
}

#[test]
fn plain_and_linear() {
    let plain = rope(500_000.0, 128, RopeScaling::None);
    let expected = [
        (0, 1.0),
        (1, 0.814_617_2),
        (31, 0.001_736_046_7),
        (63, 2.455_140_7e-6),
    ];
    assert_inverse(&plain, 1, &expected);
    let linear = rope(10_000.0, 64, RopeScaling::Linear { factor: 4.0 });
    let expected = [
        (0, 0.25),
        (1, 0.187_473_55),
        (15, 0.003_333_803_7),
        (31, 3.333_803_8e-5),
    ];
    assert_inverse(&linear, 1, &expected);
}

#[test]
fn dynamic_grows_beyond_the_trained_context() {
    let scaling = RopeScaling::DynamicNtk {
        factor: 2.0,
        original_context: 2048,
    };
    let dynamic = rope(10_000.0, 64, scaling);
    let trained = [
        (1, 0.749_894_2),
        (15, 0.013_335_215),
        (31, 0.000_133_352_15),
    ];
    assert_inverse(&dynamic, 100, &trained);
    assert_inverse(&dynamic, 2048, &trained);
    let one_more = [
        (1, 0.749_870_6),
        (15, 0.013_328_918),
        (31, 0.000_133_222_04),
    ];
    assert_inverse(&dynamic, 2049, &one_more);
    let four_times = [(1, 0.704_269_35), (15, 0.005_200_937), (31, 1.905_030_7e-5)];
    assert_inverse(&dynamic, 8192, &four_times);
    assert_eq!(dynamic.regime(8192), RopeRegime::Short);
}

#[test]
fn yarn_ramps_between_kept_and_stretched() {
    let yarn = |beta_fast, beta_slow, truncate| {
        let scaling = YarnScaling {
            factor: 4.0,
            original_context: 32_768,
            beta_fast,
            beta_slow,
            magnitude: 1.138_629_4,
            truncate,
        };
        rope(1e6, 128, RopeScaling::Yarn(scaling))
    };
    let usual = [
        (20, 0.013_335_215),
        (24, 0.005_375_321_5),
        (30, 0.001_064_361_1),
        (36, 0.000_179_841_18),
        (40, 4.445_698_5e-5),
        (63, 3.102_344_4e-7),
    ];
    assert_inverse(&yarn(32.0, 1.0, true), 1, &usual);
    let exact_ends = [
        (24, 0.005_517_270_4),
        (30, 0.001_079_237_8),
        (36, 0.000_177_344_26),
    ];
    assert_inverse(&yarn(32.0, 1.0, false), 1, &exact_ends);
    let other_betas = [
        (24, 0.005_623_413_2),
        (30, 0.001_006_875_2),
        (36, 0.000_129_752_78),
    ];
    assert_inverse(&yarn(24.0, 2.0, true), 1, &other_betas);
    let magnitude = yarn(32.0, 1.0, true).frequencies(1).magnitude;
    assert_close(magnitude, 1.138_629_4, "magnitude");
}

#[test]
fn llama3_stretches_long_wavelengths() {
    let llama3 = |dimensions, original_context| {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context,
        };
        rope(500_000.0, dimensions, scaling)
    };
    let expected = [
        (0, 1.0),
        (28, 0.003_211_446),
        (29, 0.002_166_570_6),
        (32, 0.000_524_846),
        (34, 0.000_178_507_8),
        (35, 9.556_213e-5),
        (63, 3.068_926e-7),
    ];
    assert_inverse(&llama3(128, 8192), 1, &expected);
    let tiny = [
        (0, 1.0),
        (1, 0.079_403_01),
        (2, 0.004_700_754),
        (7, 1.289_173_2e-6),
    ];
    assert_inverse(&llama3(16, 64), 1, &tiny);
}

#[test]
fn divisors_divide() {
    let divisors = vec![1.0, 2.0, 4.0, 8.0];
    let divided = rope(10_000.0, 8, RopeScaling::Divisors(divisors));
    let expected = [(0, 1.0), (1, 0.05), (2, 0.0025), (3, 0.000_125)];
    assert_inverse(&divided, 1, &expected);
}

#[test]
fn long_rope_changes_its_divisors_once() {
    let scaling = RopeScaling::LongRope {
        short: vec![1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35],
        long: vec![1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0],
        original_context: 16,
        magnitude: 1.5,
    };
    let long_rope = rope(10_000.0, 16, scaling);
    let short = [
        (0, 1.0),
        (1, 0.301_169_3),
        (3, 0.027_498_068),
        (7, 0.000_234_242_8),
    ];
    let long = [
        (0, 0.666_666_7),
        (1, 0.158_113_88),
        (3, 0.010_540_925),
        (7, 6.324_555_6e-5),
    ];
    assert_inverse(&long_rope, 16, &short);
    assert_inverse(&long_rope, 17, &long);
    assert_eq!(long_rope.regime(16), RopeRegime::Short);
    assert_eq!(long_rope.regime(17), RopeRegime::Long);
    assert_eq!(long_rope.frequencies(1).magnitude, 1.5);
}

/// Angles round to f32 as the reference's do: beyond position 100 000 a double would differ visibly.
#[test]
fn fill_rounds_angles_as_the_reference_does() {
    let frequencies = rope(500_000.0, 128, RopeScaling::None).frequencies(1);
    let (mut cosines, mut sines) = (vec![0.0; 64], vec![0.0; 64]);
    let cases = [
        (0, 0, 1.0, 0.0),
        (1, 0, 0.540_302_3, 0.841_471),
        (1, 31, 0.999_998_5, 0.001_736_045_9),
        (4097, 0, 0.934_771_96, 0.355_248_33),
        (4097, 63, 0.999_949_4, 0.010_058_542),
        (131_071, 0, -0.817_983_5, -0.575_241_7),
        (131_071, 63, 0.948_668_36, 0.316_272_56),
    ];
    for (position, pair, cosine, sine) in cases {
        frequencies.fill(position, &mut cosines, &mut sines);
        let close = |found: f32, expected: f32| (found - expected).abs() < 1e-6;
        assert!(close(cosines[pair], cosine), "cos {position} {pair}");
        assert!(close(sines[pair], sine), "sin {position} {pair}");
    }
    let doubled = ruvllm_core::model::rope::RopeFrequencies {
        magnitude: 2.0,
        ..frequencies
    };
    doubled.fill(0, &mut cosines, &mut sines);
    assert_eq!((cosines[0], sines[0]), (2.0, 0.0));
}
