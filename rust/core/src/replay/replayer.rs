//! A runner that plays a tape.

use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, OwnedRows, Wanted};
use crate::error::{Error, Result};
use crate::ids::SequenceId;
use crate::kv::{BlockStore, KvPool};
use crate::model::spec::ModelSpec;
use crate::model::{LOGIT_ROWS, ModelHeader, Output, Runner, Taking};
use crate::profile::{Operation, Profile, timed};

use super::blocks::MarkedBlocks;
use super::mark::Mark;
use super::tape::Tape;
use super::texts::Texts;

/// A tape in a model's place.
#[derive(Debug)]
pub(crate) struct Replayer {
    header: Arc<ModelHeader>,
    tape: Arc<Mutex<Tape>>,
    blocks: MarkedBlocks,
    texts: Texts,
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
            texts: Texts::default(),
            logits: Vec::new(),
        })
    }

    /// Marks of all rows of a batch, once its blocks are what they should be. What somebody writes is there for all
    /// others only afterwards, as with a model, where a step stores what all of its rows are before any looks.
    fn read(&mut self, batch: &Batch) -> Result<Vec<Mark>> {
        let mut befores = Vec::with_capacity(batch.sequences.len());
        for rows in &batch.sequences {
            if rows.wanted == Wanted::Hidden || rows.head.is_some() || rows.is_captured {
                return Err(Error::InvalidOperation(
                    "a tape has logits alone: there are no embeddings, and nothing to learn"
                        .to_owned(),
                ));
            }
            let begin = Mark::begin(rows, &self.header.spec);
            let before = self.blocks.read(begin, rows)?;
            if self
                .texts
                .before(begin, rows)
                .is_some_and(|text| text != before)
            {
                return Err(Error::KvCache(format!(
                    "replay of sequence {}: before position {} its blocks hold another text than its own",
                    rows.owner.0, rows.first_position
                )));
            }
            befores.push((begin, before));
        }
        let mut marks = Vec::with_capacity(batch.tokens.len());
        for (rows, texts) in batch.sequences.iter().zip(befores) {
            let of_rows = self.texts.go_on(texts, rows, &batch.tokens[rows.range()]);
            self.blocks.write(texts.1, rows, &of_rows)?;
            marks.extend(of_rows);
        }
        Ok(marks)
    }

    /// Has the tape say what follows upon some rows. Where it has nothing on a text nobody can go on: its logits are no
    /// numbers. Of a guess that is wrong nobody asks.
    fn play(&mut self, group: &[OwnedRows], marks: &[Mark]) {
        let width = self.header.spec.vocab_size;
        let rows: usize = group.iter().map(|part| part.rows.len()).sum();
        self.logits.resize(rows * width, 0.0);
        // Whoever records changes one row at a time.
        let tape = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = group.iter().flat_map(|part| part.rows.clone());
        for (row, logits) in rows.zip(self.logits.chunks_exact_mut(width)) {
            if !tape.play(marks[row], logits) {
                logits.fill(f32::NAN);
            }
        }
    }
}

impl Runner for Replayer {
    fn spec(&self) -> &ModelSpec {
        &self.header.spec
    }

    fn blocks(&mut self) -> &mut dyn BlockStore {
        &mut self.blocks.0
    }

    fn leave(&mut self, sequence: SequenceId) {
        self.texts.leave(sequence);
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
        for group in batch.logit_rows(LOGIT_ROWS) {
            timed(profile, Operation::Head, || self.play(&group, &marks));
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
