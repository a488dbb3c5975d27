//! What a draft model guesses of the answers of a step, as far as that pays.

use std::sync::Arc;

use crate::batch::{Batch, Wanted};
use crate::cancel::CancelFlag;
use crate::error::{Error, Result};
use crate::ids::{SequenceId, TokenId};
use crate::model::Model;
use crate::sequence::{Generation, Sequence, Work};
use crate::speculation::policy::MOST_GUESSES;
use crate::speculation::{Bet, Drafting, Lengths, Prices, bulk_of, is_worth_seconds};
use crate::text::Vocabulary;

use super::Engine;
use super::draft_model::{DraftModel, Part};
use super::drafts::{Drafts, leaves_traces};
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
        let sizes = (self.runner.spec().vocab_size, model.spec().vocab_size);
        check_vocabularies(self.ground.vocabulary.as_deref(), vocabulary, sizes)?;
        drafts.model = Some(DraftModel::new(model, kv_bytes)?);
        Ok(())
    }

    /// Lets the draft model guess for the answers of a batch.
    pub(super) fn guess_by_model(&mut self, batch: &Batch) -> Result<()> {
        let vocab_size = self.runner.spec().vocab_size;
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
        let is_due = self.model.is_due();
        let mut answers = self.answers(batch);
        self.take_in_text(batch, &mut answers)?;
        answers.retain(|answer| answer.behind() <= MOST_BEHIND);
        if is_due && answers.len() == batch.sequences.len() && answers.len() == 1 {
            self.guess_next(&mut answers, 0)?;
            return Ok(());
        }
        match self.drafts.settings.lengths {
            Lengths::AsPays => self.guess_as_pays(batch, answers),
            Lengths::Always(most) => self.guess_always(most.min(MOST_GUESSES), answers),
        }
    }

    /// The answers that the model may guess for: those that look-ups say less of.
    fn answers(&mut self, batch: &Batch) -> Vec<Answer> {
        let in_step: Vec<_> = batch.sequences.iter().map(|rows| rows.owner).collect();
        let mut answers = Vec::new();
        for (place, id) in in_step.iter().enumerate() {
            let Some(sequence) = self.sequences.get(*id) else {
                continue;
            };
            let Some((generation, drafting)) = drafting_of(sequence) else {
                continue;
            };
            let (tokens, room) = (sequence.tokens.len(), generation.room_for_guesses());
            let expected = drafting.expected_of_model();
            if room == 0
                || !self.model.reaches(tokens + MOST_GUESSES)
                || drafting.chance_of_lookup(tokens) >= expected
                || !self.knows(&sequence.tokens)
                || !self.model.has_room(*id, tokens + MOST_GUESSES, &in_step)
            {
                continue;
            }
            let leaves_traces = leaves_traces(sequence.cache_min_tokens, sequence.prompt_tokens);
            answers.push(Answer {
                place,
                id: *id,
                cancel: sequence.cancel.clone(),
                tokens,
                known: self.model.known(sequence, leaves_traces),
                room: room.min(MOST_GUESSES),
                expected,
                chance: 1.0,
                last: None,
            });
        }
        answers
    }

    /// Whether the draft model has a row for all of these tokens.
    fn knows(&self, tokens: &[TokenId]) -> bool {
        let size = self.model.vocab_size();
        size >= self.vocab_size || tokens.iter().all(|token| (*token as usize) < size)
    }

    /// Takes in some of the text of that answer which is the least of those that are far behind, if that pays.
    fn take_in_text(&mut self, batch: &Batch, answers: &mut [Answer]) -> Result<()> {
        let far = answers
            .iter()
            .filter(|answer| answer.behind() > MOST_BEHIND);
        let Some(answer) = far.min_by_key(|answer| answer.behind()) else {
            return Ok(());
        };
        let behind = answer.behind() - 1;
        let rows = match self.drafts.settings.lengths {
            Lengths::Always(_) => behind,
            Lengths::AsPays => self.bulk_for(batch, answers, answer, behind),
        };
        let Some(sequence) = self.sequences.get(answer.id).filter(|_| rows > 0) else {
            return Ok(());
        };
        let part = Part {
            id: answer.id,
            cancel: answer.cancel.clone(),
            tokens: sequence.tokens[answer.known..answer.known + rows].to_vec(),
        };
        let id = answer.id;
        let clock = Arc::clone(&self.drafts.settings.clock);
        let taken = self
            .model
            .take_in(&[part], Wanted::Nothing, &*clock, &mut |_| {})?;
        let taken_in = answers.iter_mut().filter(|answer| answer.id == id);
        taken_in.for_each(|answer| answer.known += taken);
        Ok(())
    }

    /// How many of the tokens that an answer is behind are taken in at once; 0 where it does not pay.
    fn bulk_for(&self, batch: &Batch, answers: &[Answer], answer: &Answer, behind: usize) -> usize {
        let prices = self.prices();
        let (rows, company) = (batch.tokens.len(), batch.sequences.len());
        let (Some(step), Some(bet)) = (prices.step.seconds(rows), Bet::new(prices, rows, company))
        else {
            return 0;
        };
        // Not where nothing would be guessed of it once it is taken in.
        let chances: Vec<_> = answers
            .iter()
            .map(|one| (one.place, one.expected))
            .collect();
        if !bet
            .worth(prices, &chances, chances.len())
            .contains(&answer.place)
        {
            return 0;
        }
        let (share, least) = if company > 1 {
            (SHARE_BESIDE_OTHERS, 0)
        } else {
            (1.0, LEAST_BULK)
        };
        let size = bulk_of(prices, step * share, least);
        let left = self.sequences.get(answer.id).and_then(drafting_of);
        let left = left.map_or(0, |(generation, _)| generation.room_for_guesses());
        let left = (left as f64).min(self.model.usual_length);
        let seconds = behind as f64 * prices.reading.unwrap_or(0.0);
        let steps = behind.div_ceil(size.max(1)) as f64;
        let is_read_in_time = company == 1 || steps < left / 2.0;
        if size > 0 && is_read_in_time && is_worth_seconds(prices, seconds, left, answer.expected) {
            size.min(behind)
        } else {
            0
        }
    }

    fn prices(&self) -> Prices<'_> {
        Prices {
            step: &self.drafts.costs,
            draft: &self.model.costs,
            reading: self.model.reading,
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
            // Those whose guess ends them are out by now: what they gain counts for little.
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
        let threads = Arc::clone(self.model.threads());
        let clock = Arc::clone(&self.drafts.settings.clock);
        let taken = self
            .model
            .take_in(&parts, Wanted::Last, &*clock, &mut |outputs| {
                let parts = sequences.beside(outputs);
                threads.for_each(parts, 1, |(sequence, output)| {
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
            let answering = self.sequences.get(answer.id).and_then(drafting_of);
            let Some((generation, drafting)) = answering else {
                return false;
            };
            let Some((token, chance)) = drafting.model_guess(answer.tokens, ahead) else {
                return false;
            };
            (answer.last, answer.chance) = (Some(token), chance);
            // Nothing follows upon an end, nor upon a token that the draft model has no row for.
            !generation.ends_with(token) && (token as usize) < self.model.vocab_size()
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
    /// Tokens of its text that the draft model has not taken in: one at least.
    fn behind(&self) -> usize {
        self.tokens - self.known
    }

    /// What the draft model takes in for its next guess.
    fn rows(&self, ahead: usize) -> usize {
        if ahead == 0 { self.behind() } else { 1 }
    }
}

/// An answer of which something is guessed, and how.
fn drafting_of(sequence: &Sequence) -> Option<(&Generation, &Drafting)> {
    let Work::Generate(generation) = &sequence.work else {
        return None;
    };
    Some((generation, generation.drafting.as_deref()?))
}
