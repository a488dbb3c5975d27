//! Which tokens' rows of the head an update looks at: those that carry the probability of an answer's places.

use super::capture::Captured;
use crate::ids::TokenId;

/// Candidates below it are part of the rest of their place.
const LEAST_PROBABILITY: f32 = 1e-3;
/// What a token's probabilities of all places must come to, for a row of its own.
const LEAST_WEIGHT: f32 = 0.02;
/// What a token weighs that was said: more than one that was merely likely can come to, at any number of places.
const SAID: f32 = 1e6;
/// What the rest of a place has at least, so that it has a logarithm.
const LEAST_REST: f32 = 1e-6;
/// Where a token has no row, and a slot no token.
const NONE: u32 = u32::MAX;

/// An answer's places, each with its candidates: first the token that was said, last the rest, which is all tokens
/// without a row of their own.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The tokens with a row, ascending.
    pub(super) tokens: Vec<TokenId>,
    /// The row of each candidate: its place in `tokens`, and behind those that of the rest.
    pub(super) rows: Vec<u32>,
    /// Beside it its logit or its log-probability; of the rest the logarithm of what it weighs beside those.
    pub(super) logits: Vec<f32>,
    /// Where each place's candidates end.
    pub(super) ends: Vec<usize>,
    found: Vec<Found>,
    /// Where each place's `found` end.
    found_ends: Vec<usize>,
    weights: Weights,
}

/// A token at a place, that may have a row.
#[derive(Debug, Clone, Copy)]
struct Found {
    logprob: f32,
    probability: f32,
    /// Its place among the weights.
    weight: usize,
}

/// What the tokens of an answer weigh, each once, in the order in which they were found.
#[derive(Debug, Default)]
struct Weights {
    tokens: Vec<Weight>,
    /// A table of their places by a hash of the token, at most half full.
    slots: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Weight {
    token: TokenId,
    sum: f32,
    row: u32,
}

impl Choice {
    /// Looks at an answer; at most so many rows, though each token of the answer has one. With `as_logits`
    /// logits are those before any softmax, else log-probabilities, which differ by a number of each place.
    pub(super) fn of(&mut self, captured: &Captured, max_rows: usize, as_logits: bool) {
        self.find(captured);
        self.choose(max_rows);
        self.rows.clear();
        self.logits.clear();
        self.ends.clear();
        let mut begin = 0;
        for (place, end) in captured.tokens().zip(&self.found_ends) {
            let above = if as_logits { place.log_total } else { 0.0 };
            let mut rest = 1.0;
            for found in &self.found[begin..*end] {
                let row = self.weights.tokens[found.weight].row;
                if row != NONE {
                    rest -= found.probability;
                    self.rows.push(row);
                    self.logits.push(found.logprob + above);
                }
            }
            self.rows.push(self.tokens.len() as u32);
            self.logits.push(rest.max(LEAST_REST).ln() + above);
            self.ends.push(self.rows.len());
            begin = *end;
        }
    }

    /// The candidates of each place.
    pub(super) fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| begin..*end)
    }

    /// Where each place's token stands.
    pub(super) fn said(&self) -> impl Iterator<Item = usize> + '_ {
        self.places().map(|range| range.start)
    }

    /// Takes in what was said, and what was likely, at all places.
    fn find(&mut self, captured: &Captured) {
        let Self {
            found,
            found_ends,
            weights,
            ..
        } = self;
        found.clear();
        found_ends.clear();
        weights.clear(captured.candidates() + captured.len());
        for place in captured.tokens() {
            found.push(Found {
                logprob: place.logprob,
                probability: place.logprob.exp(),
                weight: weights.add(place.token, SAID),
            });
            for (token, logprob) in place.candidates {
                let probability = logprob.exp();
                if probability < LEAST_PROBABILITY {
                    break;
                }
                if *token != place.token {
                    found.push(Found {
                        logprob: *logprob,
                        probability,
                        weight: weights.add(*token, probability),
                    });
                }
            }
            found_ends.push(found.len());
        }
    }

    /// Chooses the tokens with a row, and gives each its own.
    fn choose(&mut self, max_rows: usize) {
        let weights = &mut self.weights.tokens;
        let enough = |weight: &Weight| weight.sum >= LEAST_WEIGHT;
        let mut chosen: Vec<Weight> = weights.iter().copied().filter(enough).collect();
        let said = chosen.iter().filter(|one| one.sum >= SAID).count();
        let most = max_rows.max(said);
        if chosen.len() > most {
            chosen.select_nth_unstable_by(most, |one, other| other.sum.total_cmp(&one.sum));
            chosen.truncate(most);
        }
        self.tokens.clear();
        self.tokens.extend(chosen.iter().map(|one| one.token));
        self.tokens.sort_unstable();
        for (token, row) in self.tokens.iter().zip(0..) {
            let place = self.weights.place(*token);
            self.weights.tokens[place].row = row;
        }
    }
}

impl Weights {
    /// Forgets all; at most so many tokens come.
    fn clear(&mut self, most: usize) {
        self.tokens.clear();
        self.slots.clear();
        self.slots
            .resize((2 * most.max(1)).next_power_of_two(), NONE);
    }

    /// Makes a token heavier; its place.
    fn add(&mut self, token: TokenId, weight: f32) -> usize {
        let place = self.place(token);
        self.tokens[place].sum += weight;
        place
    }

    /// The place of a token, which has one from now on.
    fn place(&mut self, token: TokenId) -> usize {
        // Fibonacci hashing: neighbours are far from each other, and the high bits are the good ones.
        let shift = 32 - self.slots.len().trailing_zeros();
        let mut slot = (token.wrapping_mul(0x9e37_79b9) >> shift) as usize;
        loop {
            let place = self.slots[slot];
            if place == NONE {
                break;
            }
            if self.tokens[place as usize].token == token {
                return place as usize;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = self.tokens.len() as u32;
        self.tokens.push(Weight {
            token,
            sum: 0.0,
            row: NONE,
        });
        self.tokens.len() - 1
    }
}
