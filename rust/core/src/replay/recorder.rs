//! A runner that lets another one work and keeps what it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, BatchSequence};
use crate::error::{Error, Result};
use crate::ids::SequenceId;
use crate::kv::BlockStore;
use crate::model::spec::ModelSpec;
use crate::model::{Output, Runner, Taking};
use crate::profile::Profile;

use super::mark::Mark;
use super::tape::Tape;

/// A runner with somebody who listens.
#[derive(Debug)]
pub(crate) struct Recorder {
    runner: Box<dyn Runner>,
    tape: Arc<Mutex<Tape>>,
    /// Of each sequence the marks of its positions so far, for as long as it is recorded.
    texts: HashMap<SequenceId, Vec<Mark>>,
}

impl Recorder {
    pub(crate) fn new(runner: Box<dyn Runner>, tape: Arc<Mutex<Tape>>) -> Self {
        Self {
            runner,
            tape,
            texts: HashMap::new(),
        }
    }

    /// Follows the rows of a sequence.
    fn follow(&mut self, batch: &Batch, rows: &BatchSequence) -> Result<()> {
        let text = self.texts.entry(rows.owner).or_default();
        if text.len() < rows.first_position {
            return Err(Error::InvalidOperation(
                "the beginning of this text was found in the cache, and so was not recorded: record without"
                    .to_owned(),
            ));
        }
        text.truncate(rows.first_position);
        let begin = Mark::begin(rows, self.runner.spec());
        for token in &batch.tokens[rows.range()] {
            let before = text.last().copied().unwrap_or(begin);
            text.push(before.then(*token));
        }
        Ok(())
    }
}

impl Runner for Recorder {
    fn spec(&self) -> &ModelSpec {
        self.runner.spec()
    }

    fn blocks(&mut self) -> &mut dyn BlockStore {
        self.runner.blocks()
    }

    fn run(
        &mut self,
        batch: &mut Batch,
        profile: Option<&Profile>,
        take: &mut Taking<'_>,
    ) -> Result<()> {
        // The position of the next row of each that something is said of.
        let mut next = HashMap::new();
        for rows in &batch.sequences {
            self.follow(batch, rows)?;
            let before = rows.logit_rows().start - rows.first_row;
            next.insert(rows.owner, rows.first_position + before);
        }
        let Self {
            runner,
            tape,
            texts,
        } = self;
        let mut outcome = Ok(());
        runner.run(batch, profile, &mut |outputs: Vec<Output<'_>>| {
            let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
            for output in &outputs {
                let (Some(text), Some(position)) =
                    (texts.get(&output.owner), next.get_mut(&output.owner))
                else {
                    continue;
                };
                for logits in output.values.chunks_exact(output.width) {
                    if let (Ok(()), Some(mark)) = (&outcome, text.get(*position)) {
                        outcome = tape.record(*mark, logits);
                    }
                    *position += 1;
                }
            }
            drop(tape);
            take(outputs);
        })?;
        outcome
    }
}
