//! DRY, "don't repeat yourself" (Philipp Emanuel Weidmann, 2024): what the text ends with and has said before is not
//! to be gone on with as it was then.
//!
//! A token that followed there, behind `n` tokens that the text ends with, loses `multiplier * base ^ (n - allowed_length)`
//! of its logit, where `n` is at least `allowed_length`; of several such places the longest counts. Prompt and answer are
//! one text.

use std::cmp::Reverse;
use std::sync::Arc;

use super::breakers::Breakers;
use super::changes::Changes;
use super::ranges::check;
use super::repeats::Repeats;
use crate::ids::TokenId;
use crate::text::Vocabulary;
use crate::{Error, Result};

/// How repetitions are held back.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// What it costs to go on with a repetition of `allowed_length`. Above 0, at most 100.
    pub multiplier: f32,
    /// How much more each further token costs. 1 to 100.
    pub base: f32,
    /// Shorter repetitions cost nothing; at least 1.
    pub allowed_length: usize,
    /// So many of the last tokens are looked at; at least 1. `None`: all.
    pub last_tokens: Option<usize>,
    /// Texts that no repetition goes on across; whatever completes one costs nothing.
    pub sequence_breakers: Vec<String>,
}

/// The fields of [`Dry`] in their order.
pub type DryFields = (f32, f32, usize, Option<usize>, Vec<String>);

impl From<DryFields> for Dry {
    fn from(fields: DryFields) -> Self {
        let (multiplier, base, allowed_length, last_tokens, sequence_breakers) = fields;
        Self {
            multiplier,
            base,
            allowed_length,
            last_tokens,
            sequence_breakers,
        }
    }
}

impl Dry {
    pub(super) fn validate(&self) -> Result<()> {
        let Self {
            multiplier, base, ..
        } = *self;
        check(
            "dry.multiplier",
            multiplier,
            multiplier > 0.0 && multiplier <= 100.0,
            "above 0 and at most 100",
        )?;
        check(
            "dry.base",
            base,
            (1.0..=100.0).contains(&base),
            "between 1 and 100",
        )?;
        for (name, count) in [
            ("allowed_length", Some(self.allowed_length)),
            ("last_tokens", self.last_tokens),
        ] {
            if count == Some(0) {
                return Err(Error::Config(format!(
                    "dry.{name} is 0; it must be 1 or more"
                )));
            }
        }
        Ok(())
    }

    /// What it costs to go on with a repetition of so many tokens, at least `allowed_length`.
    fn penalty(&self, length: usize) -> f64 {
        let further = (length - self.allowed_length) as f64;
        f64::from(self.multiplier) * f64::from(self.base).powf(further)
    }
}

/// The text of one request, and what it repeats.
#[derive(Debug, Clone)]
pub(super) struct Repetitions {
    dry: Dry,
    breakers: Breakers,
    tokens: Vec<TokenId>,
    /// Tokens behind the last breaker.
    unbroken: usize,
    /// Known from the first choice on: a prompt is looked through once, and not for each of its tokens.
    repeats: Option<Repeats>,
    /// Tokens of a choice that would go on with a repetition, and how long that is.
    found: Vec<(TokenId, usize)>,
}

impl Repetitions {
    /// Before any text. `vocabulary` is what its tokens say.
    pub(super) fn new(dry: Dry, vocabulary: Option<&Arc<Vocabulary>>) -> Self {
        Self {
            breakers: Breakers::new(&dry.sequence_breakers, vocabulary),
            dry,
            tokens: Vec::new(),
            unbroken: 0,
            repeats: None,
            found: Vec::new(),
        }
    }

    /// The text goes on with a token.
    pub(super) fn observe(&mut self, token: TokenId) {
        self.unbroken = if self.breakers.accept(token) {
            0
        } else {
            self.unbroken + 1
        };
        let start = self.window_start(self.tokens.len() + 1);
        if let Some(repeats) = &mut self.repeats {
            repeats.add(&self.tokens, token, start);
        }
        self.tokens.push(token);
    }

    /// Where what is looked at begins in a text of so many tokens.
    fn window_start(&self, tokens: usize) -> usize {
        let window = self.dry.last_tokens.unwrap_or(usize::MAX);
        tokens.saturating_sub(window)
    }

    /// Makes tokens less likely that would go on with a repetition.
    pub(super) fn apply(&mut self, logits: &mut [f32], changes: &mut Changes) {
        let start = self.window_start(self.tokens.len());
        let Self {
            dry,
            breakers,
            tokens,
            unbroken,
            repeats,
            found,
        } = self;
        let repeats = repeats.get_or_insert_with(|| Repeats::of(tokens));
        if *unbroken < dry.allowed_length {
            return;
        }
        let lengths = repeats.places(start).map(|(place, length)| {
            let length = length.min(*unbroken);
            (tokens[place + 1], length)
        });
        found.clear();
        found.extend(lengths.filter(|(_, length)| *length >= dry.allowed_length));
        // The longest of each token is its first one.
        found.sort_unstable_by_key(|(token, length)| (*token, Reverse(*length)));
        found.dedup_by_key(|(token, _)| *token);
        for (token, length) in found.iter() {
            if !breakers.complete_with(*token) {
                let penalty = dry.penalty(*length);
                changes.make(logits, *token, |logit| lowered(logit, penalty));
            }
        }
    }
}

/// A finite logit stays finite, since some callers mask with the least finite number.
fn lowered(logit: f32, penalty: f64) -> f32 {
    if logit.is_finite() {
        (f64::from(logit) - penalty).max(f64::from(f32::MIN)) as f32
    } else {
        logit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dry(allowed_length: usize, last_tokens: Option<usize>, breakers: &[&str]) -> Dry {
        Dry {
            multiplier: 0.5,
            base: 2.0,
            allowed_length,
            last_tokens,
            sequence_breakers: breakers.iter().map(ToString::to_string).collect(),
        }
    }

    /// What each of ten tokens loses behind a text, some of which comes after the first choice.
    fn lost(dry: &Dry, text: &[TokenId], chosen: usize) -> Vec<f32> {
        let words = ["a", "b", "c", "d", ":", " x:", "\n", "<e", "nd>", "."];
        let words = Arc::new(Vocabulary::from_tokens(&words, vec![]).unwrap());
        let mut repetitions = Repetitions::new(dry.clone(), Some(&words));
        let mut logits = vec![0.0; 10];
        let mut changes = Changes::default();
        for (place, token) in text.iter().enumerate() {
            if place >= text.len() - chosen {
                repetitions.apply(&mut logits, &mut changes);
                changes.take_back(&mut logits);
            }
            repetitions.observe(*token);
        }
        repetitions.apply(&mut logits, &mut changes);
        let lost = logits.iter().map(|logit| 0.0 - logit).collect();
        changes.take_back(&mut logits);
        assert_eq!(logits, [0.0; 10]);
        lost
    }

    /// Worked by hand: pairs of a token and what it loses; all others lose nothing.
    fn check(dry: &Dry, text: &[TokenId], expected: &[(usize, f32)]) {
        let mut all = vec![0.0; 10];
        for (token, penalty) in expected {
            all[*token] = *penalty;
        }
        for chosen in [0, 1, text.len() / 2, text.len()] {
            assert_eq!(lost(dry, text, chosen), all, "{text:?}, {chosen} chosen");
        }
    }

    #[test]
    fn the_longest_repetition_of_each_token_counts() {
        // "a b" has been gone on with c and with d.
        check(
            &dry(2, None, &[]),
            &[0, 1, 2, 0, 1, 3, 0, 1],
            &[(2, 0.5), (3, 0.5)],
        );
        // Three tokens before c, two before d.
        check(
            &dry(2, None, &[]),
            &[9, 0, 1, 2, 0, 1, 3, 9, 0, 1],
            &[(2, 1.0), (3, 0.5)],
        );
        // All of it overlaps with itself.
        check(&dry(2, None, &[]), &[0; 6], &[(0, 4.0)]);
        check(&dry(1, None, &[]), &[0, 1, 2, 0], &[(1, 0.5)]);
        check(&dry(3, None, &[]), &[0, 1, 2, 0, 1], &[]);
        check(&dry(2, None, &[]), &[], &[]);
        check(&dry(1, None, &[]), &[0], &[]);
    }

    #[test]
    fn what_lies_before_the_window_is_forgotten() {
        let text = [9, 0, 1, 2, 9, 0, 1];
        for (window, expected) in [(7, 1.0), (6, 0.5), (100, 1.0)] {
            check(&dry(2, Some(window), &[]), &text, &[(2, expected)]);
        }
        check(&dry(2, Some(5), &[]), &text, &[]);
    }

    #[test]
    fn no_repetition_goes_on_across_a_breaker() {
        let text = [0, 1, 4, 2, 3, 0, 1, 4, 2];
        check(&dry(1, None, &[]), &text, &[(3, 4.0)]);
        check(&dry(1, None, &[":"]), &text, &[(3, 0.5)]);
        // Right behind one there is none.
        check(&dry(1, None, &[":"]), &[0, 4, 1, 0, 4], &[]);
        // One may stand within a token, or over several.
        check(&dry(1, None, &[":"]), &[5, 2, 3, 5, 2], &[(3, 0.5)]);
        check(
            &dry(1, None, &["<end>"]),
            &[7, 8, 2, 3, 7, 8, 2],
            &[(3, 0.5)],
        );
        check(
            &dry(1, None, &["<end>"]),
            &[7, 9, 2, 3, 7, 9, 2],
            &[(3, 2.0)],
        );
        // Whatever completes one is not held back.
        check(&dry(1, None, &[":"]), &[0, 1, 4, 2, 0, 1], &[]);
        check(&dry(1, None, &["<end>"]), &[0, 7, 8, 0, 7], &[]);
    }

    #[test]
    fn penalties_without_end_leave_finite_numbers() {
        let mut repetitions = Repetitions::new(dry(1, None, &[]), None);
        for _ in 0..3000 {
            repetitions.observe(0);
        }
        let mut changes = Changes::default();
        for logit in [1.0, f32::MIN, f32::MAX] {
            let mut logits = [logit];
            repetitions.apply(&mut logits, &mut changes);
            assert_eq!(logits, [f32::MIN]);
            changes.take_back(&mut logits);
        }
        for logit in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let mut logits = [logit];
            repetitions.apply(&mut logits, &mut changes);
            assert_eq!(logits[0].to_bits(), logit.to_bits());
            changes.take_back(&mut logits);
        }
    }
}
