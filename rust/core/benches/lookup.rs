//! What a guess by looking up costs where the text is long: a token told, and what comes next guessed.
//!
//! `cargo bench -p ruvllm-core --bench lookup`. Texts of 32768 tokens: one like prose and code, which repeats parts of
//! itself; one token over and over; tokens by chance. Beside the text there is a history of as many tokens.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that measures time and prints it"
)]

use std::time::Instant;

use ruvllm_core::ids::TokenId;
use ruvllm_core::speculation::{Lookups, Owner, Proposers};

const LENGTH: usize = 32_768;
/// The last tokens are measured, one by one.
const MEASURED: usize = 8_192;
const MOST_GUESSES: usize = 16;
const VOCABULARY: u64 = 49_152;
const MARK_MICROSECONDS: f64 = 10.0;

/// Numbers by chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// As words are: half as often for twice the number.
    fn token(&mut self) -> TokenId {
        let top = 1 + self.below(VOCABULARY);
        self.below(top) as TokenId
    }
}

/// Tokens, and now and then a part of what was said before once more.
fn repeating(seed: u64) -> Vec<TokenId> {
    let mut chance = Chance(seed);
    let mut text: Vec<TokenId> = (0..64).map(|_| chance.token()).collect();
    while text.len() < LENGTH {
        if chance.below(20) == 0 {
            let from = chance.below(text.len() as u64 - 32) as usize;
            let length = 4 + chance.below(28) as usize;
            text.extend_from_within(from..from + length);
        } else {
            text.push(chance.token());
        }
    }
    text
}

fn measure(name: &str, text: &[TokenId], before: &[TokenId]) {
    let lookups = Lookups::default();
    let owner = Owner {
        tenant: String::new(),
        adapter: 0,
    };
    lookups.end(&owner, before, 16);
    let mut proposer = lookups.begin(Some(&owner), &[]);
    let (known, measured) = text.split_at(LENGTH - MEASURED);
    for token in known {
        proposer.observe(*token);
    }
    let (mut guesses, mut guessed) = (Vec::new(), 0);
    let mut times: Vec<f64> = measured
        .iter()
        .map(|token| {
            let begin = Instant::now();
            proposer.observe(*token);
            guesses.clear();
            guessed += usize::from(proposer.propose(MOST_GUESSES, &mut guesses).is_some());
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let verdict = if mean <= MARK_MICROSECONDS {
        "reached"
    } else {
        "MISSED"
    };
    println!(
        "{name:24} {mean:6.2} us a token, median {:5.2}, 99 of 100 under {:5.2}, longest {:7.1}; {:.0} % guessed   <= {MARK_MICROSECONDS} us   {verdict}",
        at(0.5),
        at(0.99),
        at(1.0),
        100.0 * guessed as f64 / MEASURED as f64,
    );
}

fn main() {
    let history = repeating(7);
    measure("a text that repeats parts", &repeating(1), &history);
    measure("what was said before", &history, &history);
    measure("one token over and over", &vec![5; LENGTH], &history);
    let mut chance = Chance(3);
    let random: Vec<TokenId> = (0..LENGTH)
        .map(|_| chance.below(VOCABULARY) as TokenId)
        .collect();
    measure("tokens by chance", &random, &history);
}
