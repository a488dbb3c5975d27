//! A runner that plays a tape.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, BatchSequence, Wanted};
use crate::error::{Error, Result};
use crate::kv::{BlockStore, KvPool};
use crate::model::spec::ModelSpec;
use crate::model::{ModelHeader, Output, Runner, Taking};
use crate::profile::{Operation, Profile, timed};

use super::blocks::MarkedBlocks;
use super::mark::Mark;
use super::tape::Tape;

/// Rows that are handed over together, at most: as many as a model's head computes.
const LOGIT_ROWS: usize = 32;

/// A tape in a model's place.
#[derive(Debug)]
pub(crate) struct Replayer {
    header: Arc<ModelHeader>,
    tape: Arc<Mutex<Tape>>,
    blocks: MarkedBlocks,
    logits: Vec<f32>,
}

impl Replayer {
    /// In the place of a model of such files, with room for the blocks of a pool.
    pub(crate) fn new(
        header: Arc<ModelHeader>,
        tape: Arc<Mutex<Tape>>,
        pool: &KvPool,
    ) -> Result<Self> {
        Ok(Self {
            header,
            tape,
            blocks: MarkedBlocks::of(pool)?,
            logits: Vec::new(),
        })
    }

    /// Marks of all rows of a batch, once its blocks are what they should be.
    fn read(&mut self, batch: &Batch) -> Result<Vec<Mark>> {
        let mut marks = Vec::with_capacity(batch.tokens.len());
        for rows in &batch.sequences {
            if rows.wanted == Wanted::Hidden || rows.head.is_some() || rows.is_captured {
                return Err(Error::InvalidOperation(
                    "a tape has logits alone: there are no embeddings, and nothing to learn"
                        .to_owned(),
                ));
            }
            let begin = Mark::begin(rows, &self.header.spec);
            let tokens = &batch.tokens[rows.range()];
            marks.extend(self.blocks.advance(begin, rows, tokens)?);
        }
        Ok(marks)
    }
}

/// Rows of guesses: where one is wrong, nobody was asked about the text that it is the end of.
fn guesses_of(batch: &Batch) -> Vec<Range<usize>> {
    let guessed = batch
        .sequences
        .iter()
        .filter(|rows| matches!(rows.wanted, Wanted::From(_)));
    guessed
        .map(BatchSequence::logit_rows)
        .map(|rows| rows.start + 1..rows.end)
        .collect()
}

/// Says nothing where nobody is to listen; whether it is so.
fn unread(guesses: &[Range<usize>], row: usize, logits: &mut [f32]) -> bool {
    logits.fill(f32::NAN);
    guesses.iter().any(|rows| rows.contains(&row))
}

impl Runner for Replayer {
    fn spec(&self) -> &ModelSpec {
        &self.header.spec
    }

    fn blocks(&mut self) -> &mut dyn BlockStore {
        &mut self.blocks.0
    }

    fn run(
        &mut self,
        batch: &mut Batch,
        profile: Option<&Profile>,
        take: &mut Taking<'_>,
    ) -> Result<()> {
        batch.drop_cancelled();
        let marks = timed(profile, Operation::Store, || self.read(batch))?;
        let width = self.header.spec.vocab_size;
        let tape = Arc::clone(&self.tape);
        let guesses = guesses_of(batch);
        for group in batch.logit_rows(LOGIT_ROWS) {
            let rows: usize = group.iter().map(|part| part.rows.len()).sum();
            self.logits.resize(rows * width, 0.0);
            let wanted = group.iter().flat_map(|part| part.rows.clone());
            timed(profile, Operation::Head, || {
                // Whoever records changes one row at a time.
                let tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
                let mut rows = wanted.zip(self.logits.chunks_exact_mut(width));
                if rows.all(|(row, logits)| {
                    tape.play(marks[row], logits) || unread(&guesses, row, logits)
                }) {
                    return Ok(());
                }
                Err(Error::Generation(
                    "the tape has nothing on this text: what is replayed must have been recorded"
                        .to_owned(),
                ))
            })?;
            let mut rest = &mut self.logits[..];
            let parts = group.iter().map(|part| {
                let (values, behind) =
                    std::mem::take(&mut rest).split_at_mut(part.rows.len() * width);
                rest = behind;
                Output {
                    owner: part.owner,
                    values,
                    width,
                    states: &[],
                }
            });
            take(parts.collect());
        }
        Ok(())
    }
}
