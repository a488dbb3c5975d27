//! The next tokens of all rows that want one: their logits in one product, so that the head's weights
//! are read once for all of them, and their draws side by side.

use crate::error::Result;
use crate::events::{Event, FinishReason};
use crate::ids::SequenceId;
use crate::profile::{Operation, timed};
use crate::sampling::Sampled;
use crate::sequence::{Generation, Sequence, Work};

use super::Engine;
use super::step::{LOGIT_ROWS, StepRows};

/// One sequence's part of a draw.
struct Choice<'a> {
    generation: &'a mut Generation,
    logits: &'a mut [f32],
    sampled: &'a mut Option<Result<Sampled>>,
}

impl Engine {
    /// Chooses the next token of every sequence whose rows are all computed, each from its last row.
    /// What became of each stands in the order of `rows`: a reason where it ended.
    pub(super) fn choose(
        &mut self,
        rows: &[StepRows],
    ) -> Vec<(SequenceId, Result<Option<FinishReason>>)> {
        let choosing: Vec<&StepRows> = rows
            .iter()
            .filter(|rows| self.sequences.get(&rows.id).is_some_and(is_choosing))
            .collect();
        let mut outcomes = Vec::with_capacity(choosing.len());
        for together in choosing.chunks(LOGIT_ROWS) {
            for (rows, sampled) in together.iter().zip(self.sample(together)) {
                let outcome = sampled.map(|sampled| self.accept(rows.id, sampled));
                outcomes.push((rows.id, outcome));
            }
        }
        outcomes
    }

    /// One draw for each.
    fn sample(&mut self, rows: &[&StepRows]) -> Vec<Result<Sampled>> {
        let spec = self.model.spec();
        let (width, vocab) = (spec.hidden_size, spec.vocab_size);
        self.last_hidden.clear();
        for rows in rows {
            let last = rows.first_row + rows.rows - 1;
            let hidden = &self.work.hidden()[last * width..][..width];
            self.last_hidden.extend_from_slice(hidden);
        }
        let profile = self.profile.as_deref();
        self.model.logits(
            &self.last_hidden,
            &mut self.logits_buffers,
            &mut self.logits,
            profile,
        );
        let mut drawn: Vec<Option<Result<Sampled>>> = rows.iter().map(|_| None).collect();
        let mut places: Vec<_> = rows
            .iter()
            .zip(self.logits.chunks_exact_mut(vocab).zip(&mut drawn))
            .map(|(rows, place)| (rows.id, place))
            .collect();
        // Both in the order of the sequences' names, as the map has them.
        places.sort_unstable_by_key(|(id, _)| *id);
        let mut places = places.into_iter().peekable();
        let mut choices = Vec::with_capacity(rows.len());
        for (id, sequence) in &mut self.sequences {
            let Work::Generate(generation) = &mut sequence.work else {
                continue;
            };
            if let Some((_, (logits, sampled))) = places.next_if(|(place, _)| place == id) {
                choices.push(Choice {
                    generation,
                    logits,
                    sampled,
                });
            }
        }
        timed(profile, Operation::Sampling, || {
            self.model
                .pool()
                .for_each(choices, 1, |choice: Choice<'_>| {
                    let sampled = choice.generation.sampler.sample(choice.logits);
                    *choice.sampled = Some(sampled);
                });
        });
        drawn.into_iter().flatten().collect()
    }

    /// Makes a drawn token part of its sequence; a reason when that is done.
    fn accept(&mut self, id: SequenceId, sampled: Sampled) -> Option<FinishReason> {
        let sequence = self.sequences.get_mut(&id)?;
        let Work::Generate(generation) = &mut sequence.work else {
            return None;
        };
        let room = self.max_context.saturating_sub(sequence.tokens.len() + 1);
        let accepted = generation.accept(sampled.token, &self.end_tokens, room);
        if accepted.is_part {
            sequence.tokens.push(sampled.token);
            self.controls.events.push(Event::Token {
                sequence: id,
                token: sampled.token,
                text: accepted.text,
                logprobs: sampled.logprob,
            });
        }
        accepted.finish
    }
}

/// Whether its rows, all computed, lead to a token.
fn is_choosing(sequence: &Sequence) -> bool {
    matches!(sequence.work, Work::Generate(_)) && sequence.remaining() == 0
}
