//! MicroLoRA against f64 on every instruction set: what is added, where gradients lead, what holds fast.
#![allow(clippy::unwrap_used)]

use ruvllm_core::Error;
use ruvllm_core::lora::{EwcTerm, Halves, MicroFeedback, MicroLora, MicroMap, MicroSettings};
use ruvllm_kernels::{available, best};

const INPUTS: usize = 37;
const OUTPUTS: usize = 21;
const RATE: f32 = 0.01;

fn settings(rank: usize) -> MicroSettings {
    MicroSettings {
        rank,
        alpha: 3.0,
        dropout: 0.0,
        seed: 5,
    }
}

/// In -1..1, and of no pattern.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn maps() -> Vec<MicroMap> {
    let map = |name: &str| MicroMap {
        name: name.to_owned(),
        inputs: INPUTS,
        outputs: OUTPUTS,
    };
    vec![map("first"), map("second")]
}

/// Every instruction set's, with both ranks.
fn each() -> impl Iterator<Item = MicroLora> {
    let made = |kernels, rank| MicroLora::new(kernels, settings(rank), maps()).unwrap();
    available()
        .into_iter()
        .flat_map(move |kernels| [1, 2].map(|rank| made(kernels.clone(), rank)))
}

fn feedback(gradient: &[f32]) -> MicroFeedback<'_> {
    MicroFeedback {
        gradient: Some(gradient),
        quality: 1.0,
        reward: None,
        latency_us: 3,
    }
}

fn learn(micro: &mut MicroLora, seed: u64) {
    let (x, gradient) = (numbers(INPUTS, seed), numbers(OUTPUTS, seed + 50));
    assert!(micro.adapt(&[0, 1], &x, feedback(&gradient)).unwrap());
    micro.apply(0.2, &[]).unwrap();
}

fn weights(micro: &MicroLora, place: usize) -> Halves {
    micro.weights().nth(place).unwrap().clone()
}

/// `gradient . y` in f64: what a step against that gradient makes smaller.
fn loss(Halves { a, b }: &Halves, scale: f32, x: &[f32], gradient: &[f32]) -> f64 {
    let dot = |row: &[f32], other: &[f32]| -> f64 {
        let pairs = row.iter().zip(other);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let rows = a.chunks_exact(INPUTS).zip(b.chunks_exact(OUTPUTS));
    let sum: f64 = rows.map(|(a, b)| dot(a, x) * dot(b, gradient)).sum();
    f64::from(scale) * sum
}

#[test]
fn what_is_added_is_the_product() {
    for mut micro in each() {
        learn(&mut micro, 1);
        let x = numbers(INPUTS, 9);
        let mut output = vec![2.0; OUTPUTS];
        micro.forward_add(1, &x, &mut output).unwrap();
        let added = micro.forward(1, &x).unwrap();
        assert!(added.iter().any(|value| value.abs() > 1e-3));
        for (index, (output, added)) in output.iter().zip(&added).enumerate() {
            let mut unit = vec![0.0; OUTPUTS];
            unit[index] = 1.0;
            let exact = loss(&weights(&micro, 1), micro.scale(), &x, &unit);
            assert!((f64::from(*added) - exact).abs() < 1e-5);
            assert!((f64::from(*output) - exact - 2.0).abs() < 1e-5);
        }
    }
}

/// By differences of the loss, which is linear in each number, so that they are its slopes.
#[test]
fn a_step_goes_against_the_slope_of_every_number() {
    for mut micro in each() {
        learn(&mut micro, 1);
        let (before, scale) = (weights(&micro, 0), micro.scale());
        let (x, gradient) = (numbers(INPUTS, 2), numbers(OUTPUTS, 3));
        let answer = MicroFeedback {
            quality: 0.5,
            reward: Some(-3.0),
            ..feedback(&gradient)
        };
        micro.adapt(&[0], &x, answer).unwrap();
        assert_eq!(micro.apply(RATE, &[]).unwrap(), 1);
        let after = weights(&micro, 0);
        let base = loss(&before, scale, &x, &gradient);
        for is_b in [false, true] {
            let half = |of: &Halves| if is_b { of.b.clone() } else { of.a.clone() };
            for (index, (old, new)) in half(&before).iter().zip(half(&after)).enumerate() {
                let mut moved = before.clone();
                let place = if is_b {
                    &mut moved.b[index]
                } else {
                    &mut moved.a[index]
                };
                *place += 1.0;
                let slope = loss(&moved, scale, &x, &gradient) - base;
                let expected = f64::from(*old) + f64::from(RATE) * 1.5 * slope;
                assert!((f64::from(new) - expected).abs() < 1e-5, "{index}");
            }
        }
        // The other map had no part in it.
        assert_eq!(micro.apply(RATE, &[]).unwrap(), 0);
    }
}

#[test]
fn importance_pulls_to_the_optimum_and_its_absence_does_not() {
    for mut micro in each() {
        learn(&mut micro, 1);
        let optimum = weights(&micro, 0);
        let fisher = micro.take_fisher().swap_remove(0).unwrap();
        assert!(fisher.b.iter().any(|value| *value > 0.0));
        assert!(micro.take_fisher().iter().all(Option::is_none));
        (2..6).for_each(|seed| learn(&mut micro, seed));
        let far = weights(&micro, 0);
        let zeros = (vec![0.0; fisher.a.len()], vec![0.0; fisher.b.len()]);
        let mut term = EwcTerm {
            place: 0,
            lambda: 1e30,
            fisher: (&zeros.0, &zeros.1),
            optimal: (&optimum.a, &optimum.b),
        };
        micro.apply(0.1, &[term]).unwrap();
        assert_eq!(weights(&micro, 0).b, far.b);
        term.fisher = (&fisher.a, &fisher.b);
        micro.apply(0.1, &[term]).unwrap();
        let near = weights(&micro, 0).b;
        for (((near, far), optimum), fisher) in
            near.iter().zip(&far.b).zip(&optimum.b).zip(&fisher.b)
        {
            let expected = if *fisher > 0.0 { optimum } else { far };
            assert!((near - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn the_mean_of_several_is_applied() {
    let gradient = numbers(OUTPUTS, 3);
    let stepped = [1, 4].map(|times| {
        let mut micro = MicroLora::new(best(), settings(1), maps()).unwrap();
        for _ in 0..times {
            micro
                .adapt(&[0], &numbers(INPUTS, 2), feedback(&gradient))
                .unwrap();
        }
        assert_eq!(micro.stats().pending, times);
        assert_eq!(micro.apply(RATE, &[]).unwrap(), times);
        let stats = micro.stats();
        assert_eq!((stats.pending, stats.latency_sum_us), (0, 3 * times));
        weights(&micro, 0).b
    });
    for (once, often) in stepped[0].iter().zip(&stepped[1]) {
        assert!((once - often).abs() <= 1e-6);
    }
}

#[test]
fn a_reset_one_is_new() {
    let new = MicroLora::new(best(), settings(2), maps()).unwrap();
    let mut micro = MicroLora::new(best(), settings(2), maps()).unwrap();
    learn(&mut micro, 1);
    micro.reset();
    assert_eq!(micro.stats(), new.stats());
    assert_eq!(weights(&micro, 1).a, weights(&new, 1).a);
    assert!(weights(&micro, 1).b.iter().all(|value| *value == 0.0));
    assert!(micro.take_fisher().iter().all(Option::is_none));
}

#[test]
fn what_is_refused_leaves_all_as_it_was() {
    for mut micro in each() {
        learn(&mut micro, 1);
        let (before, stats) = (weights(&micro, 0), micro.stats());
        let (x, gradient) = (numbers(INPUTS, 2), numbers(OUTPUTS, 3));
        let infinite = [&[f32::INFINITY], &x[1..]].concat();
        let huge = [3e25; OUTPUTS];
        for (places, x, gradient) in [
            (vec![0], &x[1..], &gradient[..]),
            (vec![0], &infinite[..], &gradient[..]),
            (vec![0], &x[..], &gradient[1..]),
            (vec![0, 1], &x[..], &huge[..]),
            (vec![0, 2], &x[..], &gradient[..]),
        ] {
            let refused = micro.adapt(&places, x, feedback(gradient));
            assert!(matches!(
                refused,
                Err(Error::Config(_) | Error::Adapter(_) | Error::NotFound(_))
            ));
        }
        assert!(micro.apply(f32::NAN, &[]).is_err());
        assert_eq!(micro.apply(1.0, &[]).unwrap(), 0);
        let after = weights(&micro, 0);
        assert_eq!((after.a, after.b), (before.a, before.b));
        assert_eq!(micro.stats().adaptations, stats.adaptations);
    }
}
