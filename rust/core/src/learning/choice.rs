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

/// An answer's places, each with its candidates; all tokens without a row of their own are one candidate more, the rest.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// The tokens with a row, ascending.
    pub(super) tokens: Vec<TokenId>,
    pub(super) pairs: Vec<Pair>,
    /// Where each place's pairs end.
    pub(super) ends: Vec<usize>,
    /// Which of the pairs each place's token is.
    pub(super) said: Vec<usize>,
    /// The logarithm of what each place's rest weighs, beside its pairs' logits.
    pub(super) rest: Vec<f32>,
    weights: Vec<(TokenId, f32)>,
}

/// A candidate at a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// Its place in `tokens`.
    pub(super) row: u32,
    /// Its logit, or its log-probability.
    pub(super) logit: f32,
}

impl Choice {
    /// Looks at an answer; at most so many rows, though each token of the answer has one. With `as_logits`
    /// logits are those before any softmax, else log-probabilities, which differ by a number of each place.
    pub(super) fn of(&mut self, captured: &Captured, max_rows: usize, as_logits: bool) {
        self.choose_rows(captured, max_rows);
        self.pairs.clear();
        self.ends.clear();
        self.said.clear();
        self.rest.clear();
        for place in captured.tokens() {
            let above = if as_logits { place.log_total } else { 0.0 };
            let first = self.pairs.len();
            let mut rest = 1.0;
            let said = (place.token, place.logprob);
            let others = place.candidates.iter().copied();
            let others = others.filter(|(token, _)| *token != place.token);
            for (token, logprob) in [said].into_iter().chain(others) {
                let is_said = self.pairs.len() == first;
                if !is_said && logprob.exp() < LEAST_PROBABILITY {
                    break;
                }
                if let Ok(row) = self.tokens.binary_search(&token) {
                    rest -= logprob.exp();
                    self.pairs.push(Pair {
                        row: row as u32,
                        logit: logprob + above,
                    });
                }
            }
            self.said.push(first);
            self.ends.push(self.pairs.len());
            self.rest.push(rest.max(LEAST_REST).ln() + above);
        }
    }

    /// The pairs of each place.
    pub(super) fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| begin..*end)
    }

    fn choose_rows(&mut self, captured: &Captured, max_rows: usize) {
        let weights = &mut self.weights;
        weights.clear();
        for place in captured.tokens() {
            weights.push((place.token, SAID));
            let likely = place.candidates.iter().map(|(token, p)| (*token, p.exp()));
            weights.extend(likely.take_while(|(_, p)| *p >= LEAST_PROBABILITY));
        }
        weights.sort_unstable_by_key(|(token, _)| *token);
        weights.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 += next.1;
            }
            is_same
        });
        weights.retain(|(_, weight)| *weight >= LEAST_WEIGHT);
        let said = weights.iter().filter(|(_, weight)| *weight >= SAID).count();
        let most = max_rows.max(said);
        if weights.len() > most {
            weights.select_nth_unstable_by(most, |one, other| other.1.total_cmp(&one.1));
            weights.truncate(most);
        }
        self.tokens.clear();
        self.tokens.extend(weights.iter().map(|(token, _)| *token));
        self.tokens.sort_unstable();
    }
}
