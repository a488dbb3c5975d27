//! How sequences end.

use crate::error::Error;
use crate::events::{Event, FinishReason};
use crate::ids::SequenceId;
use crate::sequence::{Sequence, Work};

use super::Engine;

impl Engine {
    /// Ends every sequence whose caller does not want more; whether there was one.
    pub(super) fn end_cancelled(&mut self) -> bool {
        let cancelled = self.sequences.cancelled();
        for id in &cancelled {
            self.finish(*id, FinishReason::Cancelled);
        }
        !cancelled.is_empty()
    }

    /// Ends a sequence well.
    pub(super) fn finish(&mut self, id: SequenceId, reason: FinishReason) {
        let Some(mut sequence) = self.take_out(id) else {
            return;
        };
        if let Some(drafts) = &mut self.drafts {
            drafts.end(&sequence, reason != FinishReason::Cancelled);
        }
        let usage = sequence.usage();
        sequence.work.keep_capture();
        let (text, stopped_at) = match &mut sequence.work {
            Work::Generate(generation) => (generation.rest(), generation.stopped_at),
            _ => Default::default(),
        };
        if reason == FinishReason::Done
            && let Some(result) = sequence.work.result(id, &sequence.tokens)
        {
            self.controls.events.push(result);
        }
        self.controls.events.push(Event::Finished {
            sequence: id,
            reason,
            stopped_at,
            text,
            usage,
        });
    }

    /// Ends a sequence with an error.
    pub(super) fn fail(&mut self, id: SequenceId, error: Error) {
        if let Some(sequence) = self.take_out(id) {
            if let Some(drafts) = &mut self.drafts {
                drafts.end(&sequence, false);
            }
            self.controls.events.push(Event::Failed {
                sequence: id,
                error,
            });
        }
    }

    /// Removes a sequence and gives its blocks back.
    fn take_out(&mut self, id: SequenceId) -> Option<Sequence> {
        let mut sequence = self.sequences.remove(id)?;
        self.memory.let_go(&mut sequence);
        self.runner.leave(id);
        Some(sequence)
    }
}
