//! What a draft model guesses of one answer, and whether another guess of it pays.
//!
//! Unlike what is looked up these guesses cost a step of the smaller model each, so that whether there are any is
//! decided before each of them.

use super::acceptance::Acceptance;
use super::costs::StepCosts;
use super::policy::{LEAST_GAIN, LEAST_PACE, MOST_GUESSES};
use super::proposer::Support;
use crate::ids::TokenId;

/// The share of its guesses that come true, before any was seen.
const ASSUMED: f64 = 0.7;
/// How much one guess says of it.
const WEIGHT: f64 = 0.05;
/// How far a token that nothing was guessed of leads back to what is assumed: what was hard may be over.
const FORGETTING: f64 = 0.005;
/// Of an answer to come so many tokens are counted on, whatever it may have.
const MOST_AWAITED: usize = 256;
/// What many tokens at once take is seen by a step of so many.
const BULK: usize = 64;

/// The guesses of a draft model for one answer.
#[derive(Debug, Default)]
pub(super) struct ModelGuesses {
    /// Tokens of the text that they follow upon.
    after: usize,
    tokens: Vec<TokenId>,
    supports: Vec<Support>,
    /// How often the next one came true lately; `None` before any did or did not.
    expected: Option<f64>,
}

impl ModelGuesses {
    /// Adds one, of a text of so many tokens.
    pub(super) fn add(&mut self, after: usize, token: TokenId, chance: f32) {
        if self.after != after {
            self.clear();
            self.after = after;
        }
        self.tokens.push(token);
        self.supports.push(Support::Model(chance));
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.supports.clear();
    }

    /// Those that follow upon so many tokens.
    pub(super) fn of(&self, after: usize) -> &[TokenId] {
        if self.after == after {
            &self.tokens
        } else {
            &[]
        }
    }

    /// How likely the first one comes true, the first two, and so on.
    pub(super) fn chances(&self, acceptance: &Acceptance, count: usize, chances: &mut Vec<f64>) {
        let mut all = 1.0;
        chances.extend(self.supports.iter().take(count).map(|support| {
            all *= acceptance.of(*support);
            all
        }));
    }

    /// How likely all of them come true.
    pub(super) fn chance(&self, acceptance: &Acceptance) -> f64 {
        let each = self.supports.iter().map(|support| acceptance.of(*support));
        each.product()
    }

    /// How likely a guess is that is not made yet.
    pub(super) fn expected(&self) -> f64 {
        self.expected.unwrap_or(ASSUMED)
    }

    /// Learns from what the answer has become.
    pub(super) fn learn(&mut self, tokens: &[TokenId], acceptance: &mut Acceptance) {
        let said = tokens.get(self.after..).unwrap_or_default();
        if said.is_empty() {
            return;
        }
        if self.tokens.is_empty() {
            let expected = self.expected();
            self.expected = Some(expected + FORGETTING * (ASSUMED - expected));
        }
        for ((guess, support), token) in self.tokens.iter().zip(&self.supports).zip(said) {
            let came_true = guess == token;
            acceptance.learn(*support, came_true);
            let expected = self.expected();
            let seen = f64::from(u8::from(came_true));
            self.expected = Some(expected + WEIGHT * (seen - expected));
            if !came_true {
                break;
            }
        }
        self.clear();
        self.after = tokens.len();
    }
}

/// What steps take: of the model, and of the draft model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prices<'a> {
    pub(crate) step: &'a StepCosts,
    pub(crate) draft: &'a StepCosts,
}

/// What the answers of a step are to give, and what it takes, as far as their guesses are made.
#[derive(Debug)]
pub(crate) struct Bet {
    /// Seconds of the step without guesses.
    alone: f64,
    rows: usize,
    /// Seconds of the step, and of what the draft model did for it.
    seconds: f64,
    /// Tokens that each answer will have by it.
    tokens: Vec<f64>,
}

impl Bet {
    /// A step of so many rows without guesses; `None` where nobody knows yet what it takes.
    pub(crate) fn new(prices: Prices<'_>, rows: usize, answers: usize) -> Option<Self> {
        let alone = prices.step.seconds(rows)?;
        Some(Self {
            alone,
            rows,
            seconds: alone,
            tokens: vec![1.0; answers],
        })
    }

    /// Of which answers another guess pays, of those that are given with the chance that it comes true, where the draft
    /// model takes in `rows` for all of them: of the likeliest, as many as pay best.
    pub(crate) fn worth(
        &self,
        prices: Prices<'_>,
        chances: &[(usize, f64)],
        rows: usize,
    ) -> Vec<usize> {
        let mut likeliest = chances.to_vec();
        likeliest.sort_by(|one, other| other.1.total_cmp(&one.1));
        let answers = self.tokens.len() as f64;
        let mut tokens = self.tokens.clone();
        let mut total: f64 = tokens.iter().sum();
        let mut best = (total / self.seconds, 0);
        for (count, (answer, chance)) in (1..).zip(&likeliest) {
            tokens[*answer] += chance;
            total += chance;
            let draft_rows = (rows * count).div_ceil(likeliest.len());
            let seconds = self.seconds_with(prices, draft_rows, count);
            let pace = total / seconds;
            let slowest = tokens.iter().copied().fold(f64::INFINITY, f64::min);
            let is_fair = slowest * self.alone / seconds >= LEAST_PACE;
            let pays = pace * self.alone / answers >= LEAST_GAIN;
            if is_fair && pays && pace > best.0 {
                best = (pace, count);
            }
        }
        likeliest.truncate(best.1);
        likeliest.into_iter().map(|(answer, _)| answer).collect()
    }

    fn seconds_with(&self, prices: Prices<'_>, draft_rows: usize, guesses: usize) -> f64 {
        // Where nothing is known of the draft model, it is tried: it would not be there if it took long.
        let draft = prices.draft.seconds(draft_rows).unwrap_or(0.0);
        let step = |rows| prices.step.seconds(rows).unwrap_or(0.0);
        self.seconds + draft + step(self.rows + guesses) - step(self.rows)
    }

    /// Guesses were made of these answers, each with the chance that all of them so far come true, and the draft model
    /// took in so many rows for it.
    pub(crate) fn made(&mut self, prices: Prices<'_>, chances: &[(usize, f64)], draft_rows: usize) {
        self.seconds = self.seconds_with(prices, draft_rows, chances.len());
        self.rows += chances.len();
        for (answer, chance) in chances {
            self.tokens[*answer] += chance;
        }
    }
}

/// Whether it pays to take `behind` tokens of an answer in, which comes alone and has up to `left` tokens yet, where
/// each guess comes true with a chance of `expected`.
pub(crate) fn is_worth_taking_in(
    prices: Prices<'_>,
    behind: usize,
    left: usize,
    expected: f64,
) -> bool {
    let (Some(alone), Some(bulk)) = (prices.step.seconds(1), prices.draft.seconds(BULK)) else {
        return true;
    };
    let gain = gain_of(prices, expected);
    let saved = left.min(MOST_AWAITED) as f64 * alone * (1.0 - 1.0 / gain);
    gain >= LEAST_GAIN && saved >= behind as f64 * bulk / BULK as f64
}

/// How many of `behind` tokens the draft model takes in at once, so that it takes no longer than `seconds`; `least` in
/// any case.
pub(crate) fn bulk_of(prices: Prices<'_>, behind: usize, seconds: f64, least: usize) -> usize {
    let fits = |rows: &usize| {
        prices
            .draft
            .seconds(*rows)
            .is_some_and(|one| one <= seconds)
    };
    let sizes = [256, 128, 64, 32, 16, 8];
    let rows = sizes.into_iter().find(fits).unwrap_or(0);
    rows.max(least).min(behind)
}

/// How many times as fast an answer comes at best, alone, where each guess comes true with a chance of `expected`.
fn gain_of(prices: Prices<'_>, expected: f64) -> f64 {
    let (Some(alone), Some(draft)) = (prices.step.seconds(1), prices.draft.seconds(1)) else {
        return f64::INFINITY;
    };
    let mut tokens = 1.0;
    let mut chance = 1.0;
    let gains = (1..=MOST_GUESSES).map(|guesses| {
        chance *= expected;
        tokens += chance;
        let step = prices.step.seconds(1 + guesses).unwrap_or(alone);
        tokens * alone / (step + guesses as f64 * draft)
    });
    gains.fold(1.0, f64::max)
}
