//! A runner that lets another one work and keeps what it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{Batch, BatchSequence};
use crate::error::Result;
use crate::ids::SequenceId;
use crate::kv::BlockStore;
use crate::model::spec::ModelSpec;
use crate::model::{Output, Runner, Taking};
use crate::profile::Profile;

use super::mark::Mark;
use super::tape::Tape;
use super::texts::Texts;

/// A runner with somebody who listens. Texts whose beginning was found in a cache it has not heard, and what a head
/// adapter makes of logits is not the model's: of those it keeps nothing.
#[derive(Debug)]
pub(crate) struct Recorder {
    runner: Box<dyn Runner>,
    tape: Arc<Mutex<Tape>>,
    texts: Texts,
}

impl Recorder {
    pub(crate) fn new(runner: Box<dyn Runner>, tape: Arc<Mutex<Tape>>) -> Self {
        Self {
            runner,
            tape,
            texts: Texts::default(),
        }
    }

    /// Follows the rows of a sequence; the position of the first that something is said of, where that is heard.
    fn follow(&mut self, batch: &Batch, rows: &BatchSequence) -> Option<usize> {
        let begin = Mark::begin(rows, self.runner.spec());
        let before = self.texts.before(begin, rows);
        let before = before.filter(|_| rows.head.is_none())?;
        let tokens = &batch.tokens[rows.range()];
        self.texts.go_on((begin, before), rows, tokens);
        Some(rows.first_position + rows.logit_rows().start - rows.first_row)
    }
}

impl Runner for Recorder {
    fn spec(&self) -> &ModelSpec {
        self.runner.spec()
    }

    fn blocks(&mut self) -> &mut dyn BlockStore {
        self.runner.blocks()
    }

    fn leave(&mut self, sequence: SequenceId) {
        self.texts.leave(sequence);
        self.runner.leave(sequence);
    }

    fn run(
        &mut self,
        batch: &mut Batch,
        profile: Option<&Profile>,
        take: &mut Taking<'_>,
    ) -> Result<()> {
        let heard = batch.sequences.iter();
        let heard = heard.filter_map(|rows| Some((rows.owner, self.follow(batch, rows)?)));
        let mut next: HashMap<_, _> = heard.collect();
        let Self {
            runner,
            tape,
            texts,
        } = self;
        let mut outcome = Ok(());
        runner.run(batch, profile, &mut |outputs: Vec<Output<'_>>| {
            let mut tape = tape.lock().unwrap_or_else(PoisonError::into_inner);
            for output in &outputs {
                let Some(position) = next.get_mut(&output.owner) else {
                    continue;
                };
                for logits in output.values.chunks_exact(output.width) {
                    if let (Ok(()), Some(mark)) = (&outcome, texts.at(output.owner, *position)) {
                        outcome = tape.record(mark, logits);
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
