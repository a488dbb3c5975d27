//! What callers rely on: seeds, shares of draws, odd numbers, penalties, messages.

use ruvllm_core::Error;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::{Allowed, LogprobMeter, Sampler, SamplingParams};

fn plain(temperature: f32) -> SamplingParams {
    SamplingParams {
        temperature,
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..SamplingParams::default()
    }
}

fn tokens(params: SamplingParams, seed: u64, logits: &[f32], count: usize) -> Vec<u32> {
    let mut sampler = Sampler::new(params, seed, ruvllm_kernels::best());
    let mut logits = logits.to_vec();
    (0..count)
        .map(|_| {
            let token = sampler
                .sample(&mut logits)
                .expect("something to choose")
                .token;
            sampler.observe(token, true);
            token
        })
        .collect()
}

/// Counts draws and compares them with probabilities by Pearson's chi-square.
///
/// The limit is the mean of the statistic plus six standard deviations: a right sampler
/// passes for practically every seed, and the seeds here are fixed anyway.
fn assert_shares(params: &SamplingParams, logits: &[f32], expected: &[f64]) {
    const DRAWS: usize = 100_000;
    for seed in [1, 2, 12_345] {
        let mut counts = vec![0_u32; logits.len()];
        for token in tokens(params.clone(), seed, logits, DRAWS) {
            counts[token as usize] += 1;
        }
        let mut statistic = 0.0;
        let mut freedom = -1.0;
        for (&count, &share) in counts.iter().zip(expected) {
            if share == 0.0 {
                assert_eq!(count, 0, "a token of probability 0 was drawn");
                continue;
            }
            let mean = share * DRAWS as f64;
            statistic += (f64::from(count) - mean).powi(2) / mean;
            freedom += 1.0;
        }
        let limit: f64 = freedom + 6.0 * f64::sqrt(2.0 * freedom);
        assert!(
            statistic < limit,
            "seed {seed}: {statistic} >= {limit}: {counts:?}"
        );
    }
}

#[test]
fn draws_have_the_shares_of_the_softmax() {
    let logits: Vec<f32> = (0..150).map(|i| ((i % 13) as f32 - 6.0) * 0.4).collect();
    let weights: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / 0.8).exp()).collect();
    let total: f64 = weights.iter().sum();
    let expected: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
    assert_shares(&plain(0.8), &logits, &expected);
    // The same through the candidates: a filter that is on and takes nothing away.
    let filtered = SamplingParams {
        min_p: 1e-6,
        ..plain(0.8)
    };
    assert_shares(&filtered, &logits, &expected);
}

#[test]
fn draws_have_the_shares_of_what_the_filters_keep() {
    let logits = [1.0_f32, 4.0, 8.0, 1.0, 2.0].map(f32::ln);
    let top_k = SamplingParams {
        top_k: 3,
        ..plain(1.0)
    };
    let three = [0.0, 4.0 / 14.0, 8.0 / 14.0, 0.0, 2.0 / 14.0];
    assert_shares(&top_k, &logits, &three);
    let top_p = SamplingParams {
        top_p: 0.8,
        ..plain(1.0)
    };
    assert_shares(&top_p, &logits, &three);
    let min_p = SamplingParams {
        min_p: 0.45,
        ..plain(1.0)
    };
    assert_shares(&min_p, &logits, &[0.0, 1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0]);
}

/// Each filter alone, as narrow as it can be: whoever draws without it draws others, too.
#[test]
fn the_narrowest_filters_leave_the_best_alone() {
    let logits = [1.0_f32, 4.0, 8.0, 7.9, 2.0].map(f32::ln);
    let top_k = SamplingParams {
        top_k: 1,
        ..plain(1.0)
    };
    let top_p = SamplingParams {
        top_p: 0.01,
        ..plain(1.0)
    };
    let min_p = SamplingParams {
        min_p: 1.0,
        ..plain(1.0)
    };
    for params in [top_k, top_p, min_p] {
        assert_eq!(tokens(params, 3, &logits, 100), [2; 100]);
    }
}

#[test]
fn a_seed_fixes_the_tokens() {
    let logits: Vec<f32> = (0..5000).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
    for params in [SamplingParams::default(), plain(1.0)] {
        let first = tokens(params.clone(), 7, &logits, 50);
        assert_eq!(first, tokens(params.clone(), 7, &logits, 50));
        assert_ne!(first, tokens(params.clone(), 8, &logits, 50));
    }
}

/// Other work through the same process, other vocabularies through the same sampler, and
/// looks at the distribution must not move the stream.
#[test]
fn nothing_but_choices_moves_the_stream() {
    let logits: Vec<f32> = (0..300).map(|i| (i as f32 * 0.61).cos() * 3.0).collect();
    let expected = tokens(plain(1.0), 3, &logits, 20);
    let mut sampler = Sampler::new(plain(1.0), 3, ruvllm_kernels::best());
    let mut other = Sampler::new(SamplingParams::default(), 3, ruvllm_kernels::best());
    for (place, &token) in expected.iter().enumerate() {
        other.sample(&mut vec![0.5; 10 + place]).unwrap();
        sampler.distribution(&mut vec![1.0; 999]).unwrap();
        let sampled = sampler.sample(&mut logits.clone()).unwrap();
        assert_eq!(sampled.token, token);
    }
}

#[test]
fn a_copy_goes_on_like_the_original() {
    let mut logits: Vec<f32> = (0..300).map(|i| (i as f32 * 0.61).cos()).collect();
    let mut sampler = Sampler::new(SamplingParams::default(), 5, ruvllm_kernels::best());
    for _ in 0..5 {
        sampler.sample(&mut logits).unwrap();
    }
    let mut copy = sampler.clone();
    for _ in 0..20 {
        assert_eq!(sampler.sample(&mut logits), copy.sample(&mut logits));
    }
}

#[test]
fn equal_logits_are_drawn_equally_and_the_lowest_id_is_the_best() {
    let logits = [2.0; 100];
    assert_shares(&plain(0.3), &logits, &[0.01; 100]);
    assert_eq!(tokens(plain(0.0), 0, &logits, 3), [0, 0, 0]);
    let top_k = SamplingParams {
        top_k: 4,
        ..plain(1.0)
    };
    let mut shares = [0.0; 100];
    shares[..4].fill(0.25);
    assert_shares(&top_k, &logits, &shares);
}

/// Every parameter set that takes a path of its own.
fn paths() -> Vec<SamplingParams> {
    let with_top_k = SamplingParams {
        top_k: 2,
        ..plain(1.0)
    };
    let with_min_p = SamplingParams {
        min_p: 0.1,
        ..plain(1e-30)
    };
    let with_logprobs = SamplingParams {
        logprobs: Some(20),
        ..plain(100.0)
    };
    vec![
        plain(0.0),
        plain(1.0),
        plain(f32::MIN_POSITIVE / 4.0),
        with_top_k,
        with_min_p,
        with_logprobs,
        SamplingParams::default(),
    ]
}

#[test]
fn masked_nan_and_infinite_logits() {
    let (nan, masked, infinite) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
    for params in paths() {
        for (logits, allowed) in [
            (vec![nan, masked, -1e30, nan, masked], vec![2]),
            (vec![1.0, nan, infinite, 3e30, masked], vec![2]),
            (vec![infinite, 5.0, infinite, nan], vec![0, 2]),
            (vec![f32::MIN, masked, nan, -nan], vec![0]),
            (vec![-0.0], vec![0]),
        ] {
            let mut sampler = Sampler::new(params.clone(), 1, ruvllm_kernels::best());
            sampler.observe(0, true);
            for _ in 0..20 {
                let mut given = logits.clone();
                let sampled = sampler.sample(&mut given).unwrap();
                assert!(
                    allowed.contains(&sampled.token),
                    "{logits:?} gave {} by {params:?}",
                    sampled.token
                );
                let same = given
                    .iter()
                    .zip(&logits)
                    .all(|(a, b)| a.total_cmp(b).is_eq());
                assert!(same, "{given:?} {logits:?}");
                for (_, logprob) in sampled.logprob.into_iter().flat_map(|l| l.top) {
                    assert!(logprob <= 0.0 && logprob.is_finite(), "{logprob}");
                }
            }
        }
    }
}

/// Every third token.
struct Thirds(Vec<u32>);

impl Allowed for Thirds {
    fn allows(&mut self, token: TokenId) -> ruvllm_core::Result<bool> {
        Ok(token.is_multiple_of(3))
    }

    fn mask(&mut self) -> ruvllm_core::Result<&[u32]> {
        let of_word = |word| (0..32).filter(move |bit| (word * 32 + bit) % 3 == 0);
        self.0 = (0..20)
            .map(|word| of_word(word).fold(0, |mask, bit| mask | 1 << bit))
            .collect();
        Ok(&self.0)
    }
}

#[test]
fn what_a_choice_has_seen_measures_as_logits_that_are_seen_first() {
    let mut meter = LogprobMeter::new(ruvllm_kernels::best());
    let biased = |params: &SamplingParams| SamplingParams {
        logit_bias: vec![(7, 30.0)],
        ..params.clone()
    };
    let with_bias: Vec<_> = paths().iter().map(biased).collect();
    for params in paths().into_iter().chain(with_bias) {
        let mut sampler = Sampler::new(params, 5, ruvllm_kernels::best());
        for turn in 0..12 {
            let logits = (0..640).map(|index| (((index + turn) * 7919) % 1013) as f32 / 64.0);
            let mut logits: Vec<f32> = logits.collect();
            let drawn = match turn % 3 {
                0 => sampler.sample(&mut logits),
                1 => sampler.sample_among(&mut logits, &mut Thirds(vec![])),
                _ => sampler.given(9, &mut logits),
            };
            let token = drawn.expect("something to choose").token;
            sampler.observe(token, true);
            // The second time after one that has seen them for certain.
            for (token, count) in [(token, 64), (3, 5)] {
                let found = sampler.measure(&logits, token, count).expect("logits");
                let expected = meter.measure(&logits, token, count).expect("logits");
                assert_eq!(found, expected, "{:?} {turn}", sampler.params());
            }
        }
    }
}

#[test]
fn nothing_to_choose_is_an_error_that_says_why() {
    for params in paths() {
        let mut sampler = Sampler::new(params, 1, ruvllm_kernels::best());
        for (mut logits, words) in [
            (vec![f32::NAN; 3], "of 3 logits 3 are NaN"),
            (vec![f32::NEG_INFINITY; 70], "of 70 logits 0 are NaN"),
            (vec![f32::NAN, f32::NEG_INFINITY], "of 2 logits 1 are NaN"),
            (vec![], "of 0 logits"),
        ] {
            for error in [
                sampler.sample(&mut logits).unwrap_err(),
                sampler.distribution(&mut logits).unwrap_err(),
            ] {
                assert!(matches!(error, Error::Generation(_)));
                assert!(error.to_string().contains(words), "{error}");
            }
        }
        // And it goes on afterwards.
        assert_eq!(sampler.sample(&mut [1.0]).unwrap().token, 0);
    }
}

#[test]
fn penalties_and_bias_act_before_the_choice() {
    let mut logits = [3.0, 2.9, -1.0];
    let mut repetition = SamplingParams {
        repetition_penalty: 1.1,
        ..plain(0.0)
    };
    let mut sampler = Sampler::new(repetition.clone(), 0, ruvllm_kernels::best());
    assert_eq!(sampler.sample(&mut logits).unwrap().token, 0);
    sampler.observe(0, false); // the prompt counts
    assert_eq!(sampler.sample(&mut logits).unwrap().token, 1);
    repetition.repetition_penalty = 1.0;
    repetition.presence_penalty = 0.2;
    let mut sampler = Sampler::new(repetition.clone(), 0, ruvllm_kernels::best());
    sampler.observe(0, false); // the prompt does not
    assert_eq!(sampler.sample(&mut logits).unwrap().token, 0);
    sampler.observe(0, true);
    assert_eq!(sampler.sample(&mut logits).unwrap().token, 1);
    sampler.observe(1, true);
    assert_eq!(sampler.sample(&mut logits).unwrap().token, 0);
    let frequency = SamplingParams {
        frequency_penalty: 0.0625,
        ..plain(0.0)
    };
    let picked = tokens(frequency, 0, &logits, 5);
    // 3.0, 2.9375, then 2.875 against 2.9, 2.875 against 2.8375, 2.8125 against 2.8375.
    assert_eq!(picked, [0, 0, 1, 0, 1]);
    let bias = SamplingParams {
        logit_bias: vec![(2, 100.0), (0, f32::MIN_POSITIVE)],
        ..plain(0.0)
    };
    assert_eq!(tokens(bias, 0, &logits, 1), [2]);
}

/// Presence and frequency count alone, whatever the other one and the repetition are, at any value.
#[test]
fn one_penalty_is_enough_to_count_what_was_generated() {
    for penalty in [0.25, 1.0, 2.0] {
        for (presence_penalty, frequency_penalty) in [(penalty, 0.0), (0.0, penalty)] {
            let params = SamplingParams {
                presence_penalty,
                frequency_penalty,
                ..plain(0.0)
            };
            assert_eq!(tokens(params, 0, &[0.2, 0.1], 2), [0, 1], "{penalty}");
        }
    }
}

#[test]
fn the_default_is_valid() {
    SamplingParams::default().validate(1).unwrap();
}

type Change = fn(&mut SamplingParams);

/// One row a case: the change, and how its message begins (empty: allowed).
const VALIDATION: [(Change, &str); 33] = [
    (|p| p.temperature = 0.0, ""),
    (|p| p.temperature = 100.0, ""),
    (
        |p| p.temperature = -0.1,
        "temperature is -0.1; it must be between 0 and 100",
    ),
    (|p| p.temperature = 100.5, "temperature is 100.5;"),
    (|p| p.temperature = f32::NAN, "temperature is NaN;"),
    (|p| p.temperature = f32::INFINITY, "temperature is inf;"),
    (|p| p.top_p = 1.0, ""),
    (
        |p| p.top_p = 0.0,
        "top_p is 0; it must be above 0 and at most 1",
    ),
    (|p| p.top_p = 1.5, "top_p is 1.5;"),
    (|p| p.top_p = f32::NAN, "top_p is NaN;"),
    (|p| p.min_p = 0.999, ""),
    (
        |p| p.min_p = 1.0,
        "min_p is 1; it must be at least 0 and below 1",
    ),
    (|p| p.min_p = -0.5, "min_p is -0.5;"),
    (|p| p.min_p = f32::NAN, "min_p is NaN;"),
    (|p| p.top_k = usize::MAX, ""),
    (|p| p.repetition_penalty = 0.01, ""),
    (
        |p| p.repetition_penalty = 0.0,
        "repetition_penalty is 0; it must be above 0 and finite",
    ),
    (
        |p| p.repetition_penalty = f32::INFINITY,
        "repetition_penalty is inf;",
    ),
    (
        |p| p.repetition_penalty = f32::NAN,
        "repetition_penalty is NaN;",
    ),
    (|p| p.presence_penalty = -2.0, ""),
    (
        |p| p.presence_penalty = 2.1,
        "presence_penalty is 2.1; it must be between -2 and 2",
    ),
    (
        |p| p.presence_penalty = f32::NAN,
        "presence_penalty is NaN;",
    ),
    (|p| p.frequency_penalty = 2.0, ""),
    (
        |p| p.frequency_penalty = -3.0,
        "frequency_penalty is -3; it must be between -2 and 2",
    ),
    (
        |p| p.frequency_penalty = f32::NEG_INFINITY,
        "frequency_penalty is -inf;",
    ),
    (|p| p.logit_bias = vec![(49, -100.0)], ""),
    (
        |p| p.logit_bias = vec![(1, 0.0), (50, 1.0)],
        "logit_bias names token 50; it must be below 50",
    ),
    (
        |p| p.logit_bias = vec![(7, 100.5)],
        "logit_bias of token 7 is 100.5; it must be between -100 and 100",
    ),
    (
        |p| p.logit_bias = vec![(7, f32::NAN)],
        "logit_bias of token 7 is NaN;",
    ),
    (
        |p| p.logit_bias = vec![(7, f32::NEG_INFINITY)],
        "logit_bias of token 7 is -inf;",
    ),
    (|p| p.logprobs = Some(0), ""),
    (|p| p.logprobs = Some(20), ""),
    (
        |p| p.logprobs = Some(21),
        "logprobs is 21; it must be between 0 and 20",
    ),
];

#[test]
fn validation_names_field_value_and_range() {
    let mut failures = Vec::new();
    for (row, (change, words)) in VALIDATION.into_iter().enumerate() {
        let mut params = SamplingParams::default();
        change(&mut params);
        let right = match params.validate(50) {
            Ok(()) => words.is_empty(),
            Err(Error::Config(message)) => !words.is_empty() && message.starts_with(words),
            Err(_) => false,
        };
        if !right {
            failures.push((row, params.validate(50)));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

/// Exotic but valid temperatures, and parameters at their ends, over a large vocabulary.
#[test]
fn extreme_parameters_still_choose() {
    let logits: Vec<f32> = (0..70_000)
        .map(|i| ((i * 31) % 997) as f32 / 10.0)
        .collect();
    let mut chosen = 0;
    for temperature in [f32::MIN_POSITIVE / 8.0, 1e-6, 0.01, 100.0] {
        for top_p in [f32::MIN_POSITIVE, 0.5, 1.0 - f32::EPSILON, 1.0] {
            for min_p in [0.0, f32::MIN_POSITIVE, 1.0 - f32::EPSILON] {
                for top_k in [0, 1, 50_000, usize::MAX] {
                    let params = SamplingParams {
                        top_k,
                        top_p,
                        min_p,
                        ..plain(temperature)
                    };
                    params.validate(logits.len()).unwrap();
                    let token = tokens(params, 4, &logits, 1)[0];
                    assert!((token as usize) < logits.len());
                    if temperature < 1e-5 || top_k == 1 || top_p < 1e-30 || min_p > 0.9999 {
                        assert_eq!(logits[token as usize], 99.6);
                    }
                    chosen += 1;
                }
            }
        }
    }
    assert_eq!(chosen, 192);
}
