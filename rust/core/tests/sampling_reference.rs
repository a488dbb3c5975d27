//! The sampler against a plain reference: double precision, a full sort, one step after the
//! other as the documents describe them, sharing no code with the crate.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ruvllm_core::sampling::{Sampler, SamplingParams};

/// Single precision moves a summed probability by less than this.
const ROUNDING: f64 = 2e-6;

/// Parameters under which nothing but the temperature acts.
fn plain(temperature: f32) -> SamplingParams {
    SamplingParams {
        temperature,
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..SamplingParams::default()
    }
}

fn sampler(params: &SamplingParams) -> Sampler {
    Sampler::new(params.clone(), 0, ruvllm_kernels::best())
}

/// The probabilities after all filters, best first, ties by id, with so much added to `top_p`;
/// and whether single precision may rightly decide otherwise, a border being nearer than rounding.
fn reference(logits: &[f32], params: &SamplingParams, added: f64) -> (Vec<(u32, f64)>, bool) {
    let temperature = f64::from(params.temperature);
    let mut ranked: Vec<(u32, f64)> = (0..)
        .zip(
            logits
                .iter()
                .map(|&logit| f64::from(logit) / temperature + 0.0),
        ) // no -0
        .filter(|(_, scaled)| *scaled > f64::NEG_INFINITY)
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = ranked[0].1;
    let mut is_torn = false;
    if params.top_n_sigma > 0.0 {
        let cutoff = lowest_of_sigma(logits, f64::from(params.top_n_sigma)) / temperature;
        is_torn |= ranked
            .iter()
            .any(|entry| (entry.1 - cutoff).abs() < 1e-5 * cutoff.abs().max(1.0));
        ranked.retain(|entry| entry.1 >= cutoff);
    }
    if params.top_k > 0 {
        ranked.truncate(params.top_k);
    }
    for entry in &mut ranked {
        entry.1 = (entry.1 - best).exp();
    }
    if params.typical_p < 1.0 {
        is_torn |= keep_typical(&mut ranked, f64::from(params.typical_p));
    }
    let total: f64 = ranked.iter().map(|entry| entry.1).sum();
    if params.top_p < 1.0 {
        let top_p = f64::from(params.top_p) + added;
        let mut cumulative = 0.0;
        let mut kept = 0;
        for entry in &ranked {
            cumulative += entry.1 / total;
            kept += 1;
            is_torn |= (cumulative - top_p).abs() < ROUNDING;
            if cumulative >= top_p {
                break;
            }
        }
        ranked.truncate(kept);
    }
    let min_p = f64::from(params.min_p);
    if min_p > 0.0 {
        let heaviest = ranked[0].1;
        let min_p = min_p * heaviest;
        let near = |weight: f64| (weight / min_p - 1.0).abs() < 1e-5;
        is_torn |= ranked.iter().any(|entry| near(entry.1));
        ranked.retain(|entry| entry.1 >= min_p);
    }
    let total: f64 = ranked.iter().map(|entry| entry.1).sum();
    for entry in &mut ranked {
        entry.1 /= total;
    }
    (ranked, is_torn)
}

/// `max - n * sigma`, over the logits that are there.
fn lowest_of_sigma(logits: &[f32], count: f64) -> f64 {
    let there = logits.iter().map(|&logit| f64::from(logit));
    let there: Vec<f64> = there.filter(|logit| *logit > f64::NEG_INFINITY).collect();
    let mean = there.iter().sum::<f64>() / there.len() as f64;
    let squares = there.iter().map(|logit| (logit - mean) * (logit - mean));
    let deviation = (squares.sum::<f64>() / there.len() as f64).sqrt();
    there.iter().copied().fold(f64::NEG_INFINITY, f64::max) - count * deviation
}

/// Keeps the tokens whose -ln p is nearest to the entropy, as many as make up `share`; whether it is torn.
fn keep_typical(ranked: &mut Vec<(u32, f64)>, share: f64) -> bool {
    let total: f64 = ranked.iter().map(|entry| entry.1).sum();
    // What is 0 in single precision is nothing there.
    ranked.retain(|entry| entry.1 > 1e-37);
    let probability = |entry: &(u32, f64)| entry.1 / total;
    let entropy: f64 = ranked.iter().map(probability).map(|p| -p * p.ln()).sum();
    let mut by_distance: Vec<(f64, u32, f64)> = ranked
        .iter()
        .map(|entry| {
            (
                (-probability(entry).ln() - entropy).abs(),
                entry.0,
                probability(entry),
            )
        })
        .collect();
    by_distance.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut cumulative = 0.0;
    let mut kept = 0;
    let mut is_torn = false;
    for entry in &by_distance {
        cumulative += entry.2;
        kept += 1;
        is_torn |= (cumulative - share).abs() < ROUNDING;
        if cumulative >= share {
            break;
        }
    }
    if let Some(next) = by_distance.get(kept) {
        let last = by_distance[kept - 1];
        // As far away on the other side, or by a hair: that is nobody's to say, but for equal ones.
        is_torn |= (last.0 - next.0).abs() < 1e-5 && (last.2 / next.2 - 1.0).abs() > 1e-12;
    }
    let kept: BTreeSet<u32> = by_distance[..kept].iter().map(|entry| entry.1).collect();
    ranked.retain(|entry| kept.contains(&entry.0));
    is_torn
}

/// Whether the two could be compared; see [`reference`].
fn compare(logits: &[f32], params: &SamplingParams) -> Result<bool, TestCaseError> {
    let (expected, is_torn) = reference(logits, params, 0.0);
    if is_torn {
        return Ok(false);
    }
    let mut given = logits.to_vec();
    let found = sampler(params)
        .distribution(&mut given)
        .expect("something to choose");
    // Weights below e^-87 of the best are zero in single precision.
    let expected: Vec<(u32, f64)> = expected.into_iter().filter(|e| e.1 > 1e-34).collect();
    let found: Vec<(u32, f32)> = found.into_iter().filter(|f| f.1 > 1e-34).collect();
    let ids = |mut ids: Vec<u32>| {
        ids.sort_unstable();
        ids
    };
    prop_assert_eq!(
        ids(found.iter().map(|f| f.0).collect()),
        ids(expected.iter().map(|e| e.0).collect())
    );
    let by_id: std::collections::HashMap<u32, f64> = expected.into_iter().collect();
    for (token, probability) in found {
        let error = (f64::from(probability) / by_id[&token] - 1.0).abs();
        prop_assert!(error < 2e-5, "token {}: off by {:e}", token, error);
    }
    prop_assert_eq!(&given[..], logits);
    Ok(true)
}

prop_compose! {
    /// Vocabularies of several shapes: smooth, of few distinct values, with masked entries.
    fn vocabulary()(
        length in 1_usize..700,
        spread in prop_oneof![Just(0.0_f32), 0.1_f32..2.0, 2.0_f32..30.0],
        grain in prop_oneof![Just(0.0_f32), Just(0.5), Just(4.0)],
        masked in 0_usize..3,
        seeds in proptest::collection::vec(-1.0_f32..1.0, 700),
    ) -> Vec<f32> {
        (0..length).map(|i| {
            let logit = seeds[i] * spread;
            if masked > 0 && i > 0 && i % (masked + 1) == 0 {
                f32::NEG_INFINITY
            } else if grain > 0.0 {
                (logit / grain).round() * grain
            } else {
                logit
            }
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters_keep_what_the_reference_keeps(
        logits in vocabulary(),
        temperature in prop_oneof![Just(1.0_f32), 0.05_f32..3.0, Just(100.0)],
        top_k in prop_oneof![Just(0_usize), 1_usize..20, 20_usize..800],
        top_p in prop_oneof![Just(1.0_f32), 0.001_f32..1.0, 0.99_f32..1.0],
        min_p in prop_oneof![Just(0.0_f32), 0.001_f32..0.99],
    ) {
        let params = SamplingParams { top_k, top_p, min_p, ..plain(temperature) };
        // Others are drawn instead, so that so many cases were compared; it fails where few can be.
        prop_assume!(compare(&logits, &params)?);
    }

    #[test]
    fn so_they_do_with_those_that_look_at_every_logit(
        logits in vocabulary(),
        temperature in prop_oneof![Just(1.0_f32), 0.3_f32..3.0],
        top_k in prop_oneof![2 => Just(0_usize), 1 => 1_usize..20],
        typical_p in prop_oneof![Just(1.0_f32), 0.01_f32..1.0],
        top_n_sigma in prop_oneof![Just(0.0_f32), 0.1_f32..4.0],
        top_p in prop_oneof![2 => Just(1.0_f32), 1 => 0.1_f32..1.0],
        min_p in prop_oneof![2 => Just(0.0_f32), 1 => 0.001_f32..0.99],
    ) {
        let params = SamplingParams { top_k, top_p, min_p, typical_p, top_n_sigma, ..plain(temperature) };
        prop_assume!(compare(&logits, &params)?);
    }

    #[test]
    fn draws_are_among_what_is_kept(
        logits in vocabulary(),
        top_p in 0.01_f32..1.0,
        seed in any::<u64>(),
    ) {
        let params = SamplingParams { top_p, ..plain(0.8) };
        let mut given = logits.clone();
        let mut sampler = Sampler::new(params, seed, ruvllm_kernels::best());
        let kept = sampler.distribution(&mut given).unwrap();
        for _ in 0..10 {
            let token = sampler.sample(&mut given).unwrap().token;
            prop_assert!(kept.iter().any(|k| k.0 == token));
        }
        prop_assert_eq!(given, logits);
    }

    #[test]
    fn temperature_zero_is_argmax(logits in vocabulary()) {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let expected = logits.iter().position(|&logit| logit == best).unwrap();
        let token = sampler(&plain(0.0)).sample(&mut logits.clone()).unwrap().token;
        prop_assert_eq!(token as usize, expected);
    }

    #[test]
    fn logprobs_are_the_naive_log_softmax(
        logits in vocabulary(),
        offset in prop_oneof![Just(0.0_f32), Just(1e3), Just(-1e5), Just(1e7), Just(-1e30)],
        count in 0_usize..=20,
    ) {
        let logits: Vec<f32> = logits.into_iter().map(|logit| logit + offset).collect();
        // Penalties and filters must not show: strong ones are on.
        let params = SamplingParams {
            logprobs: Some(count),
            repetition_penalty: 3.0,
            presence_penalty: 2.0,
            top_k: 3,
            logit_bias: vec![(0, 5.0)],
            ..SamplingParams::default()
        };
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let distance = |logit: f32| f64::from(logit) - f64::from(best);
        let total: f64 = logits.iter().map(|&logit| distance(logit).exp()).sum();
        let expected = |token: u32| distance(logits[token as usize]) - total.ln();
        let mut sampler = Sampler::new(params, 9, ruvllm_kernels::best());
        sampler.observe(0, true);
        let sampled = sampler.sample(&mut logits.clone()).unwrap();
        let logprob = sampled.logprob.unwrap();
        prop_assert!((f64::from(logprob.logprob) - expected(sampled.token)).abs() < 1e-5);
        let mut ranked: Vec<u32> = (0..logits.len() as u32)
            .filter(|&token| logits[token as usize] > f32::NEG_INFINITY)
            .collect();
        ranked.sort_by(|&a, &b| {
            logits[b as usize].partial_cmp(&logits[a as usize]).unwrap().then(a.cmp(&b))
        });
        ranked.truncate(count);
        let found: Vec<u32> = logprob.top.iter().map(|entry| entry.0).collect();
        prop_assert_eq!(found, ranked);
        for (token, value) in logprob.top {
            prop_assert!((f64::from(value) - expected(token)).abs() < 1e-5);
        }
    }
}

/// Where the border of `top_p` lies among very many unlikely tokens, a few of them may be on either side.
fn compare_borders(logits: &[f32], params: &SamplingParams) {
    let ids = |added: f64| -> BTreeSet<u32> {
        let (kept, _) = reference(logits, params, added);
        kept.into_iter().map(|entry| entry.0).collect()
    };
    let (fewest, most) = (ids(-2.0 * ROUNDING), ids(2.0 * ROUNDING));
    assert!(most.len() - fewest.len() < 32, "{params:?} shows nothing");
    let found = sampler(params)
        .distribution(&mut logits.to_vec())
        .expect("a distribution of these logits");
    let found: BTreeSet<u32> = found.into_iter().map(|entry| entry.0).collect();
    assert!(found.is_superset(&fewest), "{params:?}");
    assert!(found.is_subset(&most), "{params:?}");
}

/// The size of the largest vocabularies in use, with the shape of a real answer: few tokens
/// far above a wide bulk.
#[test]
fn large_vocabularies_agree_with_the_reference() {
    let mut logits: Vec<f32> = (0_u32..262_144)
        .map(|i| {
            let mixed = i.wrapping_mul(2_654_435_761) ^ (i >> 7);
            (mixed % 65_536) as f32 / 8192.0 - 4.0
        })
        .collect();
    for (rank, token) in [77_777, 5, 262_143, 100_000].into_iter().enumerate() {
        logits[token] = 14.0 - rank as f32;
    }
    for (temperature, top_k, top_p, min_p) in [
        (0.7, 0, 0.9, 0.0),
        (2.0, 0, 0.9, 0.0),
        (1.0, 0, 0.5, 0.001),
        (0.7, 40, 0.95, 0.05),
        (1.0, 10_000, 0.999, 0.0),
        (5.0, 0, 0.99, 0.0),
    ] {
        let params = SamplingParams {
            top_k,
            top_p,
            min_p,
            ..plain(temperature)
        };
        if !compare(&logits, &params).unwrap() {
            compare_borders(&logits, &params);
        }
    }
    for (typical_p, top_n_sigma, top_k) in [(0.5, 0.0, 0), (1.0, 1.0, 0), (0.9, 2.0, 500)] {
        let params = SamplingParams {
            typical_p,
            top_n_sigma,
            top_k,
            ..plain(1.0)
        };
        assert!(
            compare(&logits, &params).unwrap(),
            "{params:?} shows nothing"
        );
    }
}

/// Worked by hand: logits are logarithms, so the weights are 8, 4, 2, 1, 1 of 16.
#[test]
fn cases_worked_by_hand() {
    let logits = [1.0_f32, 4.0, 8.0, 1.0, 2.0].map(f32::ln);
    let cases: [(usize, f32, f32, &[u32]); 14] = [
        (0, 1.0, 0.0, &[2, 1, 4, 0, 3]),
        (1, 1.0, 0.0, &[2]),
        (3, 1.0, 0.0, &[2, 1, 4]),
        (4, 1.0, 0.0, &[2, 1, 4, 0]), // of two equal ones the lower id
        (5, 1.0, 0.0, &[2, 1, 4, 0, 3]),
        (99, 1.0, 0.0, &[2, 1, 4, 0, 3]),
        (0, 0.0001, 0.0, &[2]), // always one
        (0, 0.49, 0.0, &[2]),
        (0, 0.51, 0.0, &[2, 1]), // the one that crosses stays
        (0, 0.76, 0.0, &[2, 1, 4]),
        (0, 0.93, 0.0, &[2, 1, 4, 0]),
        (2, 0.7, 0.0, &[2, 1]), // top-k first: 8 of 12 is below 0.7
        (2, 0.6, 0.0, &[2]),
        (0, 0.9, 0.4, &[2, 1]),
    ];
    for (top_k, top_p, min_p, expected) in cases {
        let params = SamplingParams {
            top_k,
            top_p,
            min_p,
            ..plain(1.0)
        };
        let found = sampler(&params).distribution(&mut logits.clone()).unwrap();
        let ids: Vec<u32> = found.iter().map(|entry| entry.0).collect();
        assert_eq!(ids, expected, "top_k {top_k} top_p {top_p} min_p {min_p}");
    }
    let at_half = sampler(&plain(0.5))
        .distribution(&mut logits.clone())
        .unwrap();
    // Temperature 1/2 squares the weights: 64, 16, 4, 1, 1 of 86.
    for (entry, weight) in at_half.iter().zip([64.0, 16.0, 4.0, 1.0, 1.0]) {
        assert!((entry.1 - weight / 86.0).abs() < 1e-6);
    }
}

/// Worked by hand: weights 8, 4, 2, 1, 1 of 16, so surprises of 1, 2, 3, 4, 4 bits, of which 1.875 are to be expected.
#[test]
fn typical_cases_worked_by_hand() {
    let logits = [1.0_f32, 4.0, 8.0, 1.0, 2.0].map(f32::ln);
    let cases: [(f32, f32, f32, &[u32]); 9] = [
        (0.01, 1.0, 0.0, &[1]), // 0.125 away
        (0.25, 1.0, 0.0, &[1]),
        (0.26, 1.0, 0.0, &[2, 1]),    // 0.875 away
        (0.76, 1.0, 0.0, &[2, 1, 4]), // 1.125 away
        (0.89, 1.0, 0.0, &[2, 1, 4, 0]),
        (0.99, 1.0, 0.0, &[2, 1, 4, 0, 3]),
        // top-p is of what is left: 8 of 12; min-p counts from the best that is left.
        (0.26, 0.66, 0.0, &[2]),
        (0.26, 0.67, 0.0, &[2, 1]),
        (0.01, 1.0, 0.9, &[1]),
    ];
    for (typical_p, top_p, min_p, expected) in cases {
        let params = SamplingParams {
            typical_p,
            top_p,
            min_p,
            ..plain(1.0)
        };
        let found = sampler(&params).distribution(&mut logits.clone()).unwrap();
        let ids: Vec<u32> = found.iter().map(|entry| entry.0).collect();
        assert_eq!(
            ids, expected,
            "typical_p {typical_p} top_p {top_p} min_p {min_p}"
        );
    }
}

/// Worked by hand: 4, 2, 0, 0, -6 have mean 0, deviation sqrt(56 / 5) = 3.347. At any temperature.
#[test]
fn sigma_cases_worked_by_hand() {
    let logits = [0.0, 4.0, -6.0, f32::NEG_INFINITY, 2.0, 0.0, f32::NAN];
    let cases: [(f32, usize, &[u32]); 6] = [
        (0.001, 0, &[1]),
        (0.59, 0, &[1]),
        (0.60, 0, &[1, 4]),
        (1.20, 0, &[1, 4, 0, 5]),
        (1.20, 3, &[1, 4, 0]),
        (3.00, 0, &[1, 4, 0, 5, 2]),
    ];
    for (top_n_sigma, top_k, expected) in cases {
        for temperature in [0.5, 1.0, 3.0] {
            let params = SamplingParams {
                top_n_sigma,
                top_k,
                ..plain(temperature)
            };
            let found = sampler(&params).distribution(&mut logits.clone()).unwrap();
            let ids: Vec<u32> = found.iter().map(|entry| entry.0).collect();
            assert_eq!(ids, expected, "{top_n_sigma} at {temperature}");
        }
    }
}
