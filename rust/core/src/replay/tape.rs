//! What a model said of texts.

use std::collections::HashMap;

use super::mark::Mark;
use crate::error::{Error, Result};
use crate::ids::TokenId;

/// Tokens of an invented row that are likelier than the others, and by how much the first of them.
const INVENTED: usize = 8;
/// Logits of the others.
const UNLIKELY: f32 = -8.0;

/// Logits by the texts that they follow upon.
#[derive(Debug, Clone)]
pub struct Tape {
    rows: HashMap<Mark, Row>,
    /// So many of the likeliest tokens of a row are kept.
    kept: usize,
    /// Where texts that are not on it are answered too.
    seed: Option<u64>,
}

/// One row of logits.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    likeliest: Box<[(TokenId, f32)]>,
    /// Of every other token: together they are as likely as they were.
    rest: f32,
}

impl Tape {
    /// A tape with nothing on it, which keeps the likeliest `kept` tokens of each row and of the others how likely they
    /// are together. Where all are kept, what is played is what was recorded, bit for bit.
    pub fn new(kept: usize) -> Self {
        Self {
            rows: HashMap::new(),
            kept,
            seed: None,
        }
    }

    /// A tape that has something to say of any text: nothing that a model would, and the same each time.
    pub fn invented(seed: u64) -> Self {
        Self {
            seed: Some(seed),
            ..Self::new(0)
        }
    }

    /// Rows that were recorded.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Keeps what was said of a text; it must be the same each time.
    pub(super) fn record(&mut self, text: Mark, logits: &[f32]) -> Result<()> {
        let row = Row::of(logits, self.kept);
        match self.rows.get(&text) {
            Some(known) if *known != row => Err(Error::Generation(
                "two things were said of one text: this model's logits depend on more than its tokens"
                    .to_owned(),
            )),
            Some(_) => Ok(()),
            None => {
                self.rows.insert(text, row);
                Ok(())
            }
        }
    }

    /// Says the same again; whether there is anything to say of that text.
    pub(super) fn play(&self, text: Mark, logits: &mut [f32]) -> bool {
        match (self.rows.get(&text), self.seed) {
            (Some(row), _) => row.play(logits),
            (None, Some(seed)) => invent(text.and(seed), logits),
            (None, None) => return false,
        }
        true
    }
}

impl Row {
    fn of(logits: &[f32], kept: usize) -> Self {
        let mut tokens: Vec<_> = (0..).zip(logits.iter().copied()).collect();
        let kept = kept.min(tokens.len());
        let likelier = |one: &(TokenId, f32), other: &(TokenId, f32)| {
            other.1.total_cmp(&one.1).then(one.0.cmp(&other.0))
        };
        if kept < tokens.len() {
            tokens.select_nth_unstable_by(kept, likelier);
        }
        let others = tokens.split_off(kept);
        tokens.sort_unstable_by(likelier);
        Self {
            likeliest: tokens.into(),
            rest: mean_logit(others.iter().map(|(_, logit)| *logit)),
        }
    }

    fn play(&self, logits: &mut [f32]) {
        logits.fill(self.rest);
        for (token, logit) in &self.likeliest {
            if let Some(place) = logits.get_mut(*token as usize) {
                *place = *logit;
            }
        }
    }
}

/// What all of these would be if they were one as likely as the other.
fn mean_logit(logits: impl ExactSizeIterator<Item = f32> + Clone) -> f32 {
    let count = logits.len() as f32;
    let most = logits.clone().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return most;
    }
    let sum: f32 = logits.map(|logit| (logit - most).exp()).sum();
    most + (sum / count).ln()
}

fn invent(text: Mark, logits: &mut [f32]) {
    logits.fill(UNLIKELY);
    let tokens = logits.len().max(1) as u64;
    for place in (0..INVENTED).rev() {
        let token = text.and(place as u64).0 % tokens;
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = (INVENTED - place) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Mark = Mark(7);

    #[test]
    fn what_is_kept_whole_comes_back_bit_for_bit() {
        let logits = [0.5, -0.0, f32::NEG_INFINITY, 3.25, 0.5];
        let mut tape = Tape::new(5);
        tape.record(TEXT, &logits).unwrap();
        let mut played = [9.0; 5];
        assert!(tape.play(TEXT, &mut played));
        assert_eq!(played.map(f32::to_bits), logits.map(f32::to_bits));
        assert!(!tape.play(Mark(8), &mut played));
    }

    #[test]
    fn of_the_others_stays_how_likely_they_are_together() {
        let logits = [1.0, 4.0, -2.0, 3.0, 0.0];
        let mut tape = Tape::new(2);
        tape.record(TEXT, &logits).unwrap();
        let mut played = [0.0; 5];
        assert!(tape.play(TEXT, &mut played));
        assert_eq!((played[1], played[3]), (4.0, 3.0));
        assert_eq!(played[0], played[2]);
        let sum = |logits: &[f32]| logits.iter().map(|logit| logit.exp()).sum::<f32>();
        assert!((sum(&played) / sum(&logits) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn two_things_said_of_one_text_are_an_error() {
        let mut tape = Tape::new(8);
        tape.record(TEXT, &[1.0, 2.0]).unwrap();
        tape.record(TEXT, &[1.0, 2.0]).unwrap();
        assert!(tape.record(TEXT, &[1.0, 2.5]).is_err());
        assert_eq!(tape.len(), 1);
    }

    #[test]
    fn inventions_are_the_same_each_time_and_others_for_another_seed() {
        let say = |seed| {
            let mut logits = [0.0; 100];
            assert!(Tape::invented(seed).play(TEXT, &mut logits));
            logits
        };
        assert_eq!(say(1), say(1));
        assert_ne!(say(1), say(2));
    }
}
