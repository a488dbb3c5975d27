//! What a draft model guesses of the answers of a step, as far as that pays.

use std::sync::Arc;

use crate::batch::{Batch, Wanted};
use crate::cancel::CancelFlag;
use crate::error::{Error, Result};
use crate::ids::{SequenceId, TokenId};
use crate::model::Model;
use crate::sequence::{Generation, Sequence, Work};
use crate::speculation::policy::MOST_GUESSES;
use crate::speculation::{Bet, Drafting, Lengths, Prices, bulk_of, is_worth_taking_in};
use crate::text::Vocabulary;

use super::Engine;
use super::draft_model::{DraftModel, Part};
use super::drafts::Drafts;
use super::sequences::Sequences;

/// Whoever is so many tokens behind, or fewer, takes them in together with what is guessed.
const MOST_BEHIND: usize = 16;
/// Where other answers are under way, taking in an answer's text lengthens a step by no more than this share.
const SHARE_BESIDE_OTHERS: f64 = 0.05;
/// Tokens of a text that are taken in at least where nobody else waits.
const LEAST_BULK: usize = 32;

impl Engine {
    /// Lets a smaller model guess too, which has so many bytes for its keys and values, and writes the same tokens.
    pub fn guess_with(
        &mut self,
        model: Arc<Model>,
        vocabulary: Option<&Vocabulary>,
        kv_bytes: usize,
    ) -> Result<()> {
        let Some(drafts) = &mut self.drafts else {
            return Err(Error::Config(
                "a draft model guesses tokens, and nothing is to be guessed: leave speculation on"
                    .to_owned(),
            ));
        };
        let sizes = (
            self.runner.model().spec().vocab_size,
            model.spec().vocab_size,
        );
        check_vocabularies(self.ground.vocabulary.as_deref(), vocabulary, sizes)?;
        drafts.model = Some(DraftModel::new(model, kv_bytes)?);
        Ok(())
    }

    /// Lets the draft model guess for the answers of a batch.
    pub(super) fn guess_by_model(&mut self, batch: &Batch) -> Result<()> {
        let vocab_size = self.runner.model().spec().vocab_size;
        let Some(drafts) = &mut self.drafts else {
            return Ok(());
        };
        let Some(mut model) = drafts.model.take() else {
            return Ok(());
        };
        let mut guessing = Guessing {
            model: &mut model,
            drafts,
            sequences: &mut self.sequences,
            vocab_size,
        };
        let outcome = guessing.guess(batch);
        drafts.model = Some(model);
        outcome
    }
}

/// Refuses a draft model whose tokens mean something else.
fn check_vocabularies(
    own: Option<&Vocabulary>,
    other: Option<&Vocabulary>,
    sizes: (usize, usize),
) -> Result<()> {
    let problem = match (own, other) {
        (Some(own), Some(other)) => own
            .first_difference(other)
            .map(|token| format!("its token {token} is another one than the model's")),
        _ if sizes.0 != sizes.1 => Some(format!(
            "it has {} tokens and the model {}, and of one of them no tokenizer is known",
            sizes.1, sizes.0
        )),
        _ => None,
    };
    problem.map_or(Ok(()), |problem| {
        Err(Error::Config(format!(
            "this cannot be the draft model: {problem}; take a smaller model of the same family, with the same \
             tokenizer"
        )))
    })
}

/// The draft model at work for the answers of one step.
struct Guessing<'a> {
    model: &'a mut DraftModel,
    drafts: &'a mut Drafts,
    sequences: &'a mut Sequences,
    /// Of the model that is guessed for.
    vocab_size: usize,
}

/// An answer of which something may be guessed.
struct Answer {
    /// Its place in the batch.
    place: usize,
    id: SequenceId,
    cancel: CancelFlag,
    /// Tokens of its text...
    tokens: usize,
    /// ... of which the draft model has taken so many in.
    known: usize,
    /// Guesses of it that there may be yet.
    room: usize,
    /// How likely the next guess is, before it is made.
    expected: f64,
    /// How likely all of them so far are.
    chance: f64,
    /// The last one.
    last: Option<TokenId>,
}

impl Guessing<'_> {
    fn guess(&mut self, batch: &Batch) -> Result<()> {
        let mut answers = self.answers(batch);
        // Whoever has no guess may not wait for those of others, and then there are none.
        if answers.is_empty() {
            return Ok(());
        }
        if self.take_in_texts(batch, &answers)? {
            answers = self.answers(batch);
        }
        answers.retain(|answer| answer.tokens - answer.known <= MOST_BEHIND);
        match self.drafts.settings.lengths {
            Lengths::AsPays => self.guess_as_pays(batch, answers),
            Lengths::Always(most) => self.guess_always(most.min(MOST_GUESSES), answers),
        }
    }

    /// The answers that the model may guess for: those that look-ups say less of.
    fn answers(&mut self, batch: &Batch) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (place, rows) in batch.sequences.iter().enumerate() {
            let Some(sequence) = self.sequences.get(rows.owner) else {
                continue;
            };
            let Some((generation, drafting)) = drafting_of(sequence) else {
                continue;
            };
            let (tokens, room) = (sequence.tokens.len(), generation.room_for_guesses());
            let expected = drafting.expected_of_model();
            let is_known = |token: &TokenId| (*token as usize) < self.model.vocab_size();
            if room == 0
                || !self.model.reaches(tokens + MOST_GUESSES)
                || drafting.chance_of_lookup(tokens) >= expected
                || !sequence.tokens.iter().all(is_known)
            {
                continue;
            }
            answers.push(Answer {
                place,
                id: rows.owner,
                cancel: sequence.cancel.clone(),
                tokens,
                known: self.model.known(sequence),
                room: room.min(MOST_GUESSES),
                expected,
                chance: 1.0,
                last: None,
            });
        }
        answers
    }

    /// Takes in some of the text of an answer that is far behind, if that pays; whether it did.
    fn take_in_texts(&mut self, batch: &Batch, answers: &[Answer]) -> Result<bool> {
        let behind = |answer: &&Answer| answer.tokens - answer.known > MOST_BEHIND;
        let Some(answer) = answers.iter().find(behind) else {
            return Ok(false);
        };
        let behind = answer.tokens - answer.known - 1;
        let rows = match self.drafts.settings.lengths {
            Lengths::Always(_) => behind,
            Lengths::AsPays => self.bulk_for(batch, answer, behind),
        };
        if rows == 0 {
            return Ok(false);
        }
        let Some(sequence) = self.sequences.get(answer.id) else {
            return Ok(false);
        };
        let part = Part {
            id: answer.id,
            cancel: answer.cancel.clone(),
            tokens: sequence.tokens[answer.known..answer.known + rows].to_vec(),
        };
        let clock = Arc::clone(&self.drafts.settings.clock);
        let taken = self
            .model
            .take_in(&[part], Wanted::Nothing, &*clock, &mut |_, _| {})?;
        Ok(taken > 0)
    }

    /// How many of the tokens that an answer is behind are taken in at once; 0 where it does not pay.
    fn bulk_for(&self, batch: &Batch, answer: &Answer, behind: usize) -> usize {
        let prices = self.prices();
        let Some(step) = prices.step.seconds(batch.tokens.len()) else {
            return 0;
        };
        if batch.sequences.len() > 1 {
            return bulk_of(prices, behind, step * SHARE_BESIDE_OTHERS, 0);
        }
        let left = self.sequences.get(answer.id).and_then(drafting_of);
        let left = left.map_or(0, |(generation, _)| generation.room_for_guesses());
        if is_worth_taking_in(prices, behind, left, answer.expected) {
            bulk_of(prices, behind, step, LEAST_BULK)
        } else {
            0
        }
    }

    fn prices(&self) -> Prices<'_> {
        Prices {
            step: &self.drafts.costs,
            draft: &self.model.costs,
        }
    }

    fn guess_always(&mut self, most: usize, mut answers: Vec<Answer>) -> Result<()> {
        for ahead in 0..most {
            answers.retain(|answer| answer.room > ahead);
            self.guess_next(&mut answers, ahead)?;
        }
        Ok(())
    }

    fn guess_as_pays(&mut self, batch: &Batch, mut answers: Vec<Answer>) -> Result<()> {
        let rows = batch.tokens.len();
        let Some(mut bet) = Bet::new(self.prices(), rows, batch.sequences.len()) else {
            return Ok(());
        };
        for ahead in 0..MOST_GUESSES {
            answers.retain(|answer| answer.room > ahead);
            let rows = answers.iter().map(|answer| answer.rows(ahead)).sum();
            let chances: Vec<_> = answers
                .iter()
                .map(|answer| (answer.place, answer.chance * answer.expected))
                .collect();
            let worth = bet.worth(self.prices(), &chances, rows);
            answers.retain(|answer| worth.contains(&answer.place));
            let taken = self.guess_next(&mut answers, ahead)?;
            if taken == 0 {
                break;
            }
            let made: Vec<_> = answers.iter().map(|one| (one.place, one.chance)).collect();
            bet.made(self.prices(), &made, taken);
        }
        Ok(())
    }

    /// One more guess of each of some answers; those stay that got one. Returns how many rows that took.
    fn guess_next(&mut self, answers: &mut Vec<Answer>, ahead: usize) -> Result<usize> {
        let parts: Vec<_> = answers
            .iter()
            .filter_map(|answer| self.part_of(answer))
            .collect();
        let (sequences, vocab_size) = (&mut *self.sequences, self.vocab_size);
        let clock = Arc::clone(&self.drafts.settings.clock);
        let taken =
            self.model
                .take_in(&parts, Wanted::Last, &*clock, &mut |compute, outputs| {
                    let parts = sequences.beside(outputs);
                    compute.pool.for_each(parts, 1, |(sequence, output)| {
                        let known = sequence.tokens.len();
                        if let Work::Generate(generation) = &mut sequence.work {
                            let values = output.values;
                            if values.len() >= vocab_size {
                                generation.guess_of_model(known, ahead, &mut values[..vocab_size]);
                            } else {
                                // What the draft model has no token for it cannot guess.
                                let mut all = values.to_vec();
                                all.resize(vocab_size, f32::NEG_INFINITY);
                                generation.guess_of_model(known, ahead, &mut all);
                            }
                        }
                    });
                })?;
        answers.retain_mut(|answer| {
            let sequence = self.sequences.get(answer.id);
            let guess = sequence
                .and_then(drafting_of)
                .and_then(|(_, drafting)| drafting.model_guess(answer.tokens, ahead));
            if let Some((token, chance)) = guess {
                (answer.last, answer.chance) = (Some(token), chance);
            }
            guess.is_some_and(|(token, _)| (token as usize) < self.model.vocab_size())
        });
        Ok(taken)
    }

    fn part_of(&self, answer: &Answer) -> Option<Part> {
        let sequence = self.sequences.get(answer.id)?;
        Some(Part {
            id: answer.id,
            cancel: answer.cancel.clone(),
            tokens: match answer.last {
                Some(token) => vec![token],
                None => sequence.tokens[answer.known..].to_vec(),
            },
        })
    }
}

impl Answer {
    /// What the draft model takes in for its next guess.
    fn rows(&self, ahead: usize) -> usize {
        if ahead == 0 {
            self.tokens - self.known
        } else {
            1
        }
    }
}

/// An answer of which something is guessed, and how.
fn drafting_of(sequence: &Sequence) -> Option<(&Generation, &Drafting)> {
    let Work::Generate(generation) = &sequence.work else {
        return None;
    };
    Some((generation, generation.drafting.as_deref()?))
}
