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
/// As many tokens of a text are taken in at once.
const SIZES: [usize; 6] = [256, 128, 64, 32, 16, 8];

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
    /// Adds one, `ahead` of the next one behind a text of so many tokens; `None` where nothing can be guessed.
    pub(super) fn add(&mut self, after: usize, ahead: usize, guess: Option<(TokenId, f32)>) {
        if self.after != after || ahead == 0 {
            self.clear();
            self.after = after;
        }
        let Some((token, chance)) = guess else {
            self.expected = Some(0.0);
            return;
        };
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
    /// Seconds that the draft model takes for a token of a text; `None` where nobody knows yet.
    pub(crate) reading: Option<f64>,
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

/// Whether it pays to take in for so many seconds what is known of an answer, which comes alone and has about `left`
/// tokens yet, where each guess comes true with a chance of `expected`.
pub(crate) fn is_worth_seconds(prices: Prices<'_>, seconds: f64, left: f64, expected: f64) -> bool {
    let Some(alone) = prices.step.seconds(1) else {
        return false;
    };
    let gain = gain_of(prices, expected);
    gain >= LEAST_GAIN && left * alone * (1.0 - 1.0 / gain) >= seconds
}

/// How many tokens of a text the draft model takes in within so many seconds, in one of a few sizes; `least` at least,
/// and so many where nobody knows yet.
pub(crate) fn bulk_of(prices: Prices<'_>, seconds: f64, least: usize) -> usize {
    let Some(reading) = prices.reading else {
        return least.max(SIZES[SIZES.len() - 1]);
    };
    let fits = |rows: &&usize| **rows as f64 * reading <= seconds;
    SIZES.iter().find(fits).copied().unwrap_or(0).max(least)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of so many rows takes one second and as much again for each nine more.
    fn costs(seconds: f64) -> StepCosts {
        let mut costs = StepCosts::default();
        for _ in 0..200 {
            for rows in [1, 2, 4, 10, 1] {
                let seconds = seconds * (1.0 + (rows - 1) as f64 / 9.0);
                costs.note(rows, (seconds * 1e9) as u64);
            }
        }
        costs
    }

    fn worth(
        bet: &Bet,
        step: &StepCosts,
        draft: &StepCosts,
        chances: &[(usize, f64)],
    ) -> Vec<usize> {
        let reading = None;
        bet.worth(
            Prices {
                step,
                draft,
                reading,
            },
            chances,
            chances.len(),
        )
    }

    #[test]
    fn a_guess_pays_as_far_as_it_gives_more_than_it_takes() {
        let (step, draft) = (costs(1.0), costs(0.1));
        let prices = Prices {
            step: &step,
            draft: &draft,
            reading: None,
        };
        let mut bet = Bet::new(prices, 1, 1).unwrap();
        // Another row is a ninth of a step, and the guess a tenth.
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.3)]), [0]);
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.2)]), [0; 0]);
        // What was made so far counts: of a faster step more must come.
        bet.made(prices, &[(0, 0.9)], 1);
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.3)]), [0; 0]);
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.8)]), [0]);
        // A draft model that takes as long as the model is of no use.
        let bet = Bet::new(prices, 1, 1).unwrap();
        assert_eq!(worth(&bet, &step, &step, &[(0, 1.0)]), [0; 0]);
    }

    #[test]
    fn whoever_is_not_guessed_does_not_wait_for_others() {
        let (step, draft) = (costs(1.0), costs(0.05));
        let prices = Prices {
            step: &step,
            draft: &draft,
            reading: None,
        };
        let bet = Bet::new(prices, 2, 2).unwrap();
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.9)]), [0; 0]);
        let mut both = worth(&bet, &step, &draft, &[(0, 0.9), (1, 0.8)]);
        both.sort_unstable();
        assert_eq!(both, [0, 1]);
        // Nor is one guessed that is nearly sure to be wrong, and then the other is not either.
        assert_eq!(worth(&bet, &step, &draft, &[(0, 0.9), (1, 0.01)]), [0; 0]);
    }

    #[test]
    fn how_often_guesses_come_true_is_seen_and_forgotten() {
        let mut guesses = ModelGuesses::default();
        let mut acceptance = Acceptance::default();
        let mut text = vec![1, 2, 3];
        guesses.learn(&text, &mut acceptance);
        for _ in 0..40 {
            guesses.add(text.len(), 0, Some((9, 0.5)));
            text.push(8);
            guesses.learn(&text, &mut acceptance);
        }
        assert!(guesses.expected() < 0.15, "{}", guesses.expected());
        assert!(acceptance.of(Support::Model(0.5)) < 0.1);
        for _ in 0..400 {
            text.push(8);
            guesses.learn(&text, &mut acceptance);
        }
        assert!(guesses.expected() > 0.55, "{}", guesses.expected());
        // One that cannot guess is not asked for a while.
        guesses.add(text.len(), 0, None);
        assert!(guesses.expected() == 0.0 && guesses.of(text.len()).is_empty());
    }

    #[test]
    fn a_text_is_taken_in_where_what_is_left_pays_for_it() {
        let (step, draft) = (costs(1.0), costs(0.1));
        let prices = Prices {
            step: &step,
            draft: &draft,
            reading: Some(0.02),
        };
        assert!(is_worth_seconds(prices, 20.0, 100.0, 0.8));
        assert!(!is_worth_seconds(prices, 20.0, 10.0, 0.8));
        assert!(!is_worth_seconds(prices, 0.1, 100.0, 0.1));
        assert_eq!(bulk_of(prices, 1.0, 32), 32);
        assert_eq!(bulk_of(prices, 2.6, 32), 128);
        assert_eq!(bulk_of(prices, 0.05, 0), 0);
        assert_eq!(
            bulk_of(
                Prices {
                    reading: None,
                    ..prices
                },
                9.0,
                0
            ),
            8
        );
    }
}
