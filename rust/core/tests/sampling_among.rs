//! Draws among tokens that a grammar allows: what is drawn is what would be drawn were the others not there.

use ruvllm_core::ids::TokenId;
use ruvllm_core::sampling::{Allowed, Sampler, SamplingParams};

const TOKENS: usize = 700;

/// A mask, which counts how often all of it is asked for.
struct Mask {
    words: Vec<u32>,
    asked: usize,
}

impl Mask {
    fn has(&self, token: TokenId) -> bool {
        self.words[token as usize / 32] & (1 << (token % 32)) != 0
    }
}

impl Allowed for Mask {
    fn allows(&mut self, token: TokenId) -> ruvllm_core::Result<bool> {
        Ok(self.has(token))
    }

    fn mask(&mut self) -> ruvllm_core::Result<&[u32]> {
        self.asked += 1;
        Ok(&self.words)
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Words of bits of which most are set, or few.
fn mask(state: &mut u64, dense: bool) -> Mask {
    let words = (0..TOKENS.div_ceil(32)).map(|_| {
        let few = (random(state) & random(state) & random(state)) as u32;
        if dense { !few } else { few | 1 }
    });
    Mask {
        words: words.collect(),
        asked: 0,
    }
}

fn filtered() -> Vec<SamplingParams> {
    let plain = SamplingParams {
        temperature: 0.7,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        ..SamplingParams::default()
    };
    let top_p = |top_p| SamplingParams {
        top_p,
        ..plain.clone()
    };
    vec![
        top_p(0.3),
        top_p(0.9),
        top_p(0.99),
        SamplingParams {
            min_p: 0.05,
            ..top_p(0.95)
        },
        SamplingParams {
            top_k: 5,
            ..top_p(0.8)
        },
        SamplingParams {
            min_p: 0.4,
            ..top_p(0.9)
        },
        SamplingParams {
            top_k: 2,
            ..top_p(0.95)
        },
        SamplingParams {
            top_k: 2,
            min_p: 0.1,
            ..plain.clone()
        },
        SamplingParams {
            min_p: 0.1,
            ..plain.clone()
        },
    ]
}

#[test]
fn filters_count_among_the_allowed_alone() {
    let mut state = 7;
    let (mut asked, mut draws) = (0, 0);
    for params in filtered() {
        let new = || Sampler::new(params.clone(), 11, ruvllm_kernels::best());
        let (mut among, mut masked) = (new(), new());
        for turn in 0..300 {
            let mut logits: Vec<f32> = (0..TOKENS)
                .map(|_| random(&mut state) as f32 / f32::powi(2.0, 29))
                .collect();
            // Sharp ones too, with two that are as likely, one that is nearly all, and some that become less.
            let best = random(&mut state) as usize % TOKENS;
            logits[best] += [0.0, 6.0, 12.0][turn % 3];
            logits[(best + 13) % TOKENS] = logits[best] - [0.0, 3.0][turn % 2];
            for next in 0..[0, 3, 9][turn / 3 % 3] {
                let less =
                    (1.0 + random(&mut state) as f32 / f32::powi(2.0, 31)) * (next + 1) as f32;
                logits[(best + 29 * (next + 1)) % TOKENS] = logits[best] - less;
            }
            let mut mask = mask(&mut state, turn % 5 < 3);
            let mut expected = logits.clone();
            for (token, logit) in expected.iter_mut().enumerate() {
                if !mask.has(token as TokenId) {
                    *logit = f32::NEG_INFINITY;
                }
            }
            let before = logits.clone();
            let drawn = among.sample_among(&mut logits, &mut mask).unwrap();
            let reference = masked.sample(&mut expected).unwrap();
            assert_eq!(drawn.token, reference.token, "{params:?} {turn}");
            assert_eq!(logits, before);
            asked += mask.asked;
            draws += 1;
        }
    }
    // Where few tokens are nearly all there is, nobody asks what else there could be.
    assert!(asked + 700 < draws, "{asked} of {draws}");
}
