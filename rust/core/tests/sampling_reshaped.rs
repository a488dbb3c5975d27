//! What comes behind the filters, XTC, dynamic temperature and mirostat, against their published formulas in double
//! precision; and that seeds, draws and company stay what they are.

use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::{
    Allowed, Dry, DynamicTemperature, Mirostat, Sampler, SamplingParams, Xtc,
};

fn plain() -> SamplingParams {
    SamplingParams {
        temperature: 1.0,
        top_p: 1.0,
        repetition_penalty: 1.0,
        ..SamplingParams::default()
    }
}

fn sampler(params: &SamplingParams, seed: u64) -> Sampler {
    Sampler::new(params.clone(), seed, ruvllm_kernels::best())
}

/// What the next draw is made of, by id.
fn distribution(sampler: &mut Sampler, logits: &[f32]) -> Vec<(TokenId, f64)> {
    let found = sampler
        .distribution(&mut logits.to_vec())
        .expect("a distribution");
    let mut found: Vec<_> = found
        .into_iter()
        .map(|(token, p)| (token, f64::from(p)))
        .collect();
    found.sort_by_key(|entry| entry.0);
    found
}

/// The softmax at a temperature, by id, of the tokens that are there.
fn softmax(logits: &[f32], temperature: f64) -> Vec<(TokenId, f64)> {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| ((f64::from(*logit) - f64::from(best)) / temperature).exp();
    let total: f64 = logits.iter().map(weight).sum();
    let all = (0..).zip(logits.iter().map(|logit| weight(logit) / total));
    all.filter(|(_, p)| *p > 0.0).collect()
}

fn normalized(mut entries: Vec<(TokenId, f64)>) -> Vec<(TokenId, f64)> {
    let total: f64 = entries.iter().map(|entry| entry.1).sum();
    for entry in &mut entries {
        entry.1 /= total;
    }
    entries
}

#[track_caller]
fn assert_same(found: &[(TokenId, f64)], expected: &[(TokenId, f64)]) {
    let ids = |entries: &[(TokenId, f64)]| entries.iter().map(|entry| entry.0).collect::<Vec<_>>();
    assert_eq!(ids(found), ids(expected));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found.1 / expected.1 - 1.0).abs() < 2e-5,
            "{found:?} {expected:?}"
        );
    }
}

/// What is left where the likeliest are left out: of those at least so likely, the least likely one, and the others.
fn left_over(mut entries: Vec<(TokenId, f64)>, threshold: f64) -> Vec<(TokenId, f64)> {
    entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let likely = entries.iter().filter(|entry| entry.1 >= threshold).count();
    let mut left = entries.split_off(likely.saturating_sub(1));
    left.sort_by_key(|entry| entry.0);
    normalized(left)
}

/// Pearson's chi-square of counts against shares: below its mean plus six standard deviations, which a right sampler
/// is for practically every seed.
fn assert_shares(counts: &[u32], shares: &[f64]) {
    let draws = f64::from(counts.iter().sum::<u32>());
    let (mut statistic, mut freedom) = (0.0, -1.0);
    for (count, share) in counts.iter().zip(shares) {
        if *share == 0.0 {
            assert_eq!(*count, 0);
            continue;
        }
        statistic += (f64::from(*count) - share * draws).powi(2) / (share * draws);
        freedom += 1.0;
    }
    let limit = freedom + 6.0 * f64::sqrt(2.0 * freedom);
    assert!(statistic <= limit, "{statistic} > {limit}: {counts:?}");
}

const LOGITS: [f32; 8] = [1.1, -0.4, 2.0, 0.3, 1.9, -2.0, f32::NEG_INFINITY, 0.9];

#[test]
fn xtc_leaves_out_the_likeliest_as_often_as_it_is_told() {
    const DRAWS: usize = 60_000;
    let whole = softmax(&LOGITS, 1.0);
    for (probability, threshold) in [(0.5, 0.1), (0.2, 0.05), (1.0, 0.2), (0.7, 0.0)] {
        let params = SamplingParams {
            xtc: Some(Xtc {
                probability,
                threshold,
            }),
            ..plain()
        };
        let reduced = left_over(whole.clone(), f64::from(threshold));
        assert!(reduced.len() < whole.len());
        let (mut sampler, mut mixed) = (sampler(&params, 5), [0.0; 8]);
        let mut counts = [0_u32; 8];
        let mut acted = [0_u32; 2];
        for _ in 0..DRAWS {
            let next = distribution(&mut sampler, &LOGITS);
            let is_reduced = next.len() == reduced.len();
            assert_same(&next, if is_reduced { &reduced } else { &whole });
            acted[usize::from(is_reduced)] += 1;
            let token = sampler.sample(&mut LOGITS.clone()).unwrap().token;
            assert!(next.iter().any(|entry| entry.0 == token));
            counts[token as usize] += 1;
        }
        let often = f64::from(probability);
        assert_shares(&acted, &[1.0 - often, often]);
        for (share, entries) in [(1.0 - often, &whole), (often, &reduced)] {
            for (token, p) in entries {
                mixed[*token as usize] += share * p;
            }
        }
        assert_shares(&counts, &mixed);
    }
}

#[test]
fn xtc_leaves_what_there_is_no_other_for() {
    let cases: [(&[f32], f32, &[u32]); 6] = [
        (&[8.0, 4.0, 2.0, 1.0, 1.0], 0.1, &[2, 3, 4]), // 2 of 16 is 0.125
        (&[8.0, 4.0, 2.0, 1.0, 1.0], 0.2, &[1, 2, 3, 4]),
        (&[8.0, 4.0, 2.0, 1.0, 1.0], 0.3, &[0, 1, 2, 3, 4]), // the only one so likely
        (&[8.0, 4.0, 2.0, 1.0, 1.0], 0.6, &[0, 1, 2, 3, 4]),
        (&[1.0, 1.0, 1.0], 0.3, &[2]),
        (&[5.0], 0.1, &[0]),
    ];
    for (weights, threshold, expected) in cases {
        let logits: Vec<f32> = weights.iter().map(|weight| weight.ln()).collect();
        let params = SamplingParams {
            xtc: Some(Xtc {
                probability: 1.0,
                threshold,
            }),
            ..plain()
        };
        let found = distribution(&mut sampler(&params, 1), &logits);
        let ids: Vec<u32> = found.iter().map(|entry| entry.0).collect();
        assert_eq!(ids, expected, "{weights:?} {threshold}");
    }
}

/// Where it does not act, tokens are those without it; and where it does, the others are drawn by the same numbers.
#[test]
fn xtc_takes_no_number_of_the_draws() {
    let params = |probability| SamplingParams {
        xtc: Some(Xtc {
            probability,
            threshold: 0.2,
        }),
        min_p: 1e-9,
        ..plain()
    };
    let without = SamplingParams {
        xtc: None,
        ..params(0.5)
    };
    let (mut with, mut plain, mut always) = (
        sampler(&params(0.3), 9),
        sampler(&without, 9),
        sampler(&params(1.0), 9),
    );
    let mut others = 0;
    for _ in 0..2000 {
        let acts = distribution(&mut with, &LOGITS).len() < 7;
        let [with, plain, always] = [&mut with, &mut plain, &mut always]
            .map(|sampler| sampler.sample(&mut LOGITS.clone()).unwrap().token);
        assert_eq!(with, if acts { always } else { plain });
        others += usize::from(with != plain);
    }
    assert!(others > 100, "{others}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dynamic_temperature_is_its_formula(
        logits in prop::collection::vec(-8.0_f32..8.0, 1..300),
        temperature in 0.2_f32..2.0,
        range in 0.01_f32..3.0,
        exponent in prop_oneof![Just(1.0_f32), 0.2_f32..4.0],
        top_k in prop_oneof![Just(0_usize), 2_usize..50],
    ) {
        let params = SamplingParams {
            temperature,
            top_k,
            dynamic_temperature: Some(DynamicTemperature { range, exponent }),
            ..plain()
        };
        let mut kept: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if top_k > 0 {
            kept.truncate(top_k);
        }
        // What is 0 at the temperature of the filters is not kept.
        let best = kept[0].1;
        kept.retain(|entry| (entry.1 - best) / temperature > -87.0);
        kept.sort_by_key(|entry| entry.0);
        let of_kept: Vec<f32> = kept.iter().map(|entry| entry.1).collect();
        let entropy: f64 = softmax(&of_kept, 1.0).iter().map(|entry| -entry.1 * entry.1.ln()).sum();
        let most = (of_kept.len() as f64).ln();
        let share = if most > 0.0 { entropy / most } else { 0.0 };
        let (temperature, range) = (f64::from(temperature), f64::from(range));
        let (low, high) = ((temperature - range).max(0.0), temperature + range);
        let made = low + (high - low) * share.powf(f64::from(exponent));
        prop_assume!(made > 0.05);
        let expected: Vec<(u32, f64)> = softmax(&of_kept, made)
            .into_iter()
            .map(|(place, p)| (kept[place as usize].0, p))
            .filter(|entry| entry.1 > 1e-30)
            .collect();
        let mut found = distribution(&mut sampler(&params, 1), &logits);
        found.retain(|entry| entry.1 > 1e-30);
        // A temperature is single precision, and a large distance multiplies what that is off.
        let ids = |entries: &[(u32, f64)]| entries.iter().map(|entry| entry.0).collect::<Vec<_>>();
        prop_assert_eq!(ids(&found), ids(&expected));
        for (found, expected) in found.iter().zip(&expected) {
            let tolerance = 2e-5 + 1e-6 * expected.1.ln().abs();
            prop_assert!((found.1 / expected.1 - 1.0).abs() < tolerance, "{:?} {:?}", found, expected);
        }
    }

    /// The bound is made anew from what was drawn; each draw is of what it leaves.
    #[test]
    fn mirostat_is_its_formula(
        rows in prop::collection::vec(prop::collection::vec(-6.0_f32..6.0, 40), 30),
        temperature in 0.5_f32..1.5,
        tau in 0.0_f32..6.0,
        eta in prop_oneof![Just(0.1_f32), 0.0_f32..1.0],
        seed in any::<u64>(),
    ) {
        let params = SamplingParams {
            temperature,
            mirostat: Some(Mirostat { tau, eta }),
            ..plain()
        };
        let mut sampler = sampler(&params, seed);
        let mut bound = 2.0 * f64::from(tau);
        for row in rows {
            let whole = softmax(&row, f64::from(temperature));
            let is_near = whole.iter().any(|entry| (-entry.1.log2() - bound).abs() < 1e-5);
            let best = whole.iter().fold((0, 0.0), |best, entry| if entry.1 > best.1 { *entry } else { best });
            let mut left: Vec<_> = whole.into_iter().filter(|entry| -entry.1.log2() <= bound).collect();
            if left.is_empty() {
                left.push(best);
            }
            let left = normalized(left);
            // A border nearer than rounding: what was left is told by what is found.
            if is_near {
                return Ok(());
            }
            assert_same(&distribution(&mut sampler, &row), &left);
            let token = sampler.sample(&mut row.clone()).unwrap().token;
            let drawn = left.iter().find(|entry| entry.0 == token);
            prop_assert!(drawn.is_some(), "{} of {:?}", token, left);
            bound -= f64::from(eta) * (-drawn.unwrap().1.log2() - f64::from(tau));
        }
    }
}

#[test]
fn mirostat_comes_to_the_surprise_that_is_asked_for() {
    let logits: Vec<f32> = (0..2000)
        .map(|place| -(place as f32 + 2.0).ln() * 1.1)
        .collect();
    for tau in [2.0, 4.0, 6.0] {
        let params = SamplingParams {
            mirostat: Some(Mirostat { tau, eta: 0.1 }),
            ..plain()
        };
        let mut sampler = sampler(&params, 3);
        let (mut sum, draws) = (0.0, 4000);
        for _ in 0..draws {
            let next = distribution(&mut sampler, &logits);
            let token = sampler.sample(&mut logits.clone()).unwrap().token;
            sum -= next.iter().find(|entry| entry.0 == token).unwrap().1.log2();
        }
        let mean = sum / f64::from(draws);
        assert!((mean - f64::from(tau)).abs() < 0.1, "{mean} for {tau}");
    }
}

/// Only draws move the bound: neither a look at the distribution nor a token that was given.
#[test]
fn tokens_that_nobody_drew_do_not_move_the_bound() {
    let params = SamplingParams {
        mirostat: Some(Mirostat { tau: 1.0, eta: 1.0 }),
        ..plain()
    };
    let (mut plain, mut looking) = (sampler(&params, 4), sampler(&params, 4));
    for _ in 0..200 {
        looking.given(5, &mut LOGITS.clone()).unwrap();
        looking.distribution(&mut LOGITS.clone()).unwrap();
        let [expected, found] = [&mut plain, &mut looking]
            .map(|sampler| sampler.sample(&mut LOGITS.clone()).unwrap().token);
        assert_eq!(found, expected);
    }
}

struct Mask(Vec<u32>);

impl Allowed for Mask {
    fn allows(&mut self, token: TokenId) -> ruvllm_core::Result<bool> {
        Ok(self.0[token as usize / 32] >> (token % 32) & 1 == 1)
    }

    fn mask(&mut self) -> ruvllm_core::Result<&[u32]> {
        Ok(&self.0)
    }
}

/// Each sampler, alone and with all the others.
fn samplers() -> Vec<SamplingParams> {
    let dry = Some(Dry {
        multiplier: 0.7,
        base: 1.5,
        allowed_length: 1,
        last_tokens: Some(50),
        sequence_breakers: vec![],
    });
    let xtc = Some(Xtc {
        probability: 0.5,
        threshold: 0.05,
    });
    let dynamic_temperature = Some(DynamicTemperature {
        range: 0.6,
        exponent: 1.2,
    });
    let mirostat = Some(Mirostat { tau: 3.0, eta: 0.3 });
    let of = |change: &dyn Fn(&mut SamplingParams)| {
        let mut params = plain();
        change(&mut params);
        params
    };
    vec![
        of(&|params| params.dry.clone_from(&dry)),
        of(&|params| params.xtc = xtc),
        of(&|params| params.dynamic_temperature = dynamic_temperature),
        of(&|params| params.mirostat = mirostat),
        of(&|params| params.typical_p = 0.6),
        of(&|params| params.top_n_sigma = 1.5),
        of(&|params| (params.top_p, params.xtc) = (0.8, xtc)),
        of(&|params| (params.min_p, params.mirostat) = (0.05, mirostat)),
        of(&|params| {
            (params.temperature, params.top_k, params.top_p) = (0.9, 30, 0.95);
            (params.typical_p, params.top_n_sigma) = (0.9, 3.0);
            params.dry.clone_from(&dry);
            (params.xtc, params.dynamic_temperature) = (xtc, dynamic_temperature);
            params.mirostat = mirostat;
        }),
    ]
}

/// Sharp and flat rows, with masked and odd numbers.
fn row(turn: usize) -> Vec<f32> {
    let number = |index: usize| (((index + 31 * turn) * 7919) % 1013) as f32 / 128.0;
    let mut row: Vec<f32> = (0..300).map(number).collect();
    row[(turn * 13) % 300] += [0.0, 4.0, 11.0][turn % 3];
    row[7] = f32::NAN;
    row[8] = f32::NEG_INFINITY;
    row
}

#[test]
fn among_the_allowed_they_draw_as_were_the_others_not_there() {
    for params in samplers() {
        let (mut among, mut masked) = (sampler(&params, 11), sampler(&params, 11));
        for turn in 0..300 {
            let mut mask = Mask(vec![0; 10]);
            for token in 0..300 {
                let is_dense = turn % 2 == 0;
                if (token * 37 + turn) % 11 < if is_dense { 9 } else { 2 } {
                    mask.0[token / 32] |= 1 << (token % 32);
                }
            }
            let mut logits = row(turn);
            let mut expected = logits.clone();
            for (token, logit) in expected.iter_mut().enumerate() {
                if !mask.allows(token as TokenId).unwrap() {
                    *logit = f32::NEG_INFINITY;
                }
            }
            let drawn = among.sample_among(&mut logits, &mut mask).unwrap().token;
            let reference = masked.sample(&mut expected).unwrap().token;
            // DRY alone leaves draws among all, which are made again where they fall on another.
            if params.dry.is_none() || params.top_k > 0 {
                assert_eq!(drawn, reference, "{params:?} {turn}");
            }
            assert!(mask.allows(drawn).unwrap());
            let same = logits.iter().zip(row(turn));
            assert!(same.into_iter().all(|(a, b)| a.to_bits() == b.to_bits()));
            among.observe(drawn, true);
            masked.observe(drawn, true);
        }
    }
}

#[test]
fn a_seed_fixes_the_tokens_and_a_copy_goes_on_like_the_original() {
    for params in samplers() {
        let drawn = |sampler: &mut Sampler, from: usize, count: usize| {
            let tokens = (from..from + count).map(|turn| {
                let token = sampler.sample(&mut row(turn)).unwrap().token;
                sampler.observe(token, true);
                token
            });
            tokens.collect::<Vec<_>>()
        };
        let mut first = sampler(&params, 7);
        let tokens = drawn(&mut first, 0, 60);
        assert_eq!(tokens, drawn(&mut sampler(&params, 7), 0, 60));
        assert_ne!(tokens, drawn(&mut sampler(&params, 8), 0, 60));
        let mut copy = first.clone();
        assert_eq!(drawn(&mut first, 60, 60), drawn(&mut copy, 60, 60));
    }
}

#[test]
fn at_temperature_zero_the_likeliest_is_taken_whatever_else_is_on() {
    for mut params in samplers() {
        params.temperature = 0.0;
        params.dry = None;
        let mut sampler = sampler(&params, 7);
        for turn in 0..20 {
            let row = row(turn);
            let token = sampler.sample(&mut row.clone()).unwrap().token;
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(row[token as usize], best);
        }
    }
}

#[test]
fn odd_logits_are_chosen_from_as_by_all_others() {
    let (nan, masked, infinite) = (f32::NAN, f32::NEG_INFINITY, f32::INFINITY);
    for params in samplers() {
        for (logits, allowed) in [
            (vec![nan, masked, -1e30, nan, masked], vec![2]),
            (vec![1.0, nan, infinite, 3e30, masked], vec![2]),
            (vec![infinite, 5.0, infinite, nan], vec![0, 2]),
            (vec![f32::MIN, masked, nan, -nan], vec![0]),
            (vec![-0.0], vec![0]),
        ] {
            let mut sampler = sampler(&params, 1);
            sampler.observe(0, true);
            sampler.observe(0, true);
            for _ in 0..20 {
                let token = sampler.sample(&mut logits.clone()).unwrap().token;
                assert!(
                    allowed.contains(&token),
                    "{logits:?} gave {token} by {params:?}"
                );
            }
        }
    }
}

type Change = fn(&mut SamplingParams);

/// One row a case: the change, and its message (empty: allowed).
const VALIDATION: [(Change, &str); 25] = [
    (|p| p.typical_p = 1.0, ""),
    (
        |p| p.typical_p = 0.0,
        "typical_p is 0; it must be above 0 and at most 1",
    ),
    (|p| p.typical_p = 1.5, "typical_p is 1.5;"),
    (|p| p.typical_p = f32::NAN, "typical_p is NaN;"),
    (|p| p.top_n_sigma = 100.0, ""),
    (
        |p| p.top_n_sigma = -1.0,
        "top_n_sigma is -1; it must be between 0 and 100",
    ),
    (|p| p.top_n_sigma = f32::INFINITY, "top_n_sigma is inf;"),
    (
        |p| p.dry = Some(Dry::from((100.0, 1.0, 1, Some(1), vec![]))),
        "",
    ),
    (
        |p| p.dry = Some(Dry::from((0.0, 1.75, 2, None, vec![]))),
        "dry.multiplier is 0; it must be above 0 and at most 100",
    ),
    (
        |p| p.dry = Some(Dry::from((f32::NAN, 1.75, 2, None, vec![]))),
        "dry.multiplier is NaN;",
    ),
    (
        |p| p.dry = Some(Dry::from((1.0, 0.5, 2, None, vec![]))),
        "dry.base is 0.5; it must be between 1 and 100",
    ),
    (
        |p| p.dry = Some(Dry::from((1.0, 1.75, 0, None, vec![]))),
        "dry.allowed_length is 0; it must be 1 or more",
    ),
    (
        |p| p.dry = Some(Dry::from((1.0, 1.75, 2, Some(0), vec![]))),
        "dry.last_tokens is 0;",
    ),
    (|p| p.xtc = Some(Xtc::from((1.0, 1.0))), ""),
    (
        |p| p.xtc = Some(Xtc::from((0.0, 0.1))),
        "xtc.probability is 0; it must be above 0 and at most 1",
    ),
    (
        |p| p.xtc = Some(Xtc::from((1.5, 0.1))),
        "xtc.probability is 1.5;",
    ),
    (
        |p| p.xtc = Some(Xtc::from((0.5, -0.1))),
        "xtc.threshold is -0.1; it must be between 0 and 1",
    ),
    (|p| p.dynamic_temperature = Some((100.0, 100.0).into()), ""),
    (
        |p| p.dynamic_temperature = Some((0.0, 1.0).into()),
        "dynamic_temperature.range is 0; it must be above 0 and at most 100",
    ),
    (
        |p| p.dynamic_temperature = Some((0.5, 0.0).into()),
        "dynamic_temperature.exponent is 0;",
    ),
    (|p| p.mirostat = Some(Mirostat::from((0.0, 0.0))), ""),
    (
        |p| p.mirostat = Some(Mirostat::from((-1.0, 0.1))),
        "mirostat.tau is -1; it must be between 0 and 100",
    ),
    (
        |p| p.mirostat = Some(Mirostat::from((f32::NAN, 0.1))),
        "mirostat.tau is NaN;",
    ),
    (
        |p| p.mirostat = Some(Mirostat::from((5.0, 1.5))),
        "mirostat.eta is 1.5; it must be between 0 and 1",
    ),
    (|p| p.mirostat = Some(Mirostat::from((100.0, 1.0))), ""),
];

#[test]
fn validation_names_field_value_and_range() {
    for (row, (change, words)) in VALIDATION.into_iter().enumerate() {
        let mut params = SamplingParams::default();
        change(&mut params);
        match params.validate(50) {
            Ok(()) => assert!(words.is_empty(), "{row}: {words}"),
            Err(error) => assert!(
                !words.is_empty() && error.to_string().contains(words),
                "{row}: {error}"
            ),
        }
    }
}
