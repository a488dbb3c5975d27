//! What a sequence keeps of its answer, row by row, for whoever gives feedback on it.

use crate::error::Result;
use crate::ids::TokenId;
use crate::learning::{CANDIDATES, Capture, Captured, CapturedToken};
use crate::sampling::LogprobMeter;

/// An answer that is being kept.
#[derive(Debug)]
pub(crate) struct Capturing {
    wanted: Capture,
    captured: Captured,
    meter: LogprobMeter,
}

impl Capturing {
    pub(crate) fn new(wanted: Capture, captured: Captured, meter: LogprobMeter) -> Self {
        Self {
            wanted,
            captured,
            meter,
        }
    }

    /// Keeps a token of the answer, the state that it was said in and what else was likely there.
    pub(super) fn note(&mut self, state: &[f32], logits: &[f32], token: TokenId) -> Result<()> {
        if self.captured.len() >= self.wanted.ring.max_tokens() {
            return Ok(());
        }
        let measured = self.meter.measure(logits, token, CANDIDATES)?;
        let log_total = measured.top.first().map_or(0.0, |(likeliest, logprob)| {
            logits[*likeliest as usize] - logprob
        });
        self.captured.push(
            state,
            CapturedToken {
                token,
                logprob: measured.logprob,
                log_total,
                candidates: &measured.top,
            },
        );
        Ok(())
    }

    /// The same of the token at a place of given ones, where it belongs to the answer.
    pub(super) fn note_given(
        &mut self,
        place: usize,
        (state, logits): (&[f32], &[f32]),
        token: TokenId,
    ) -> Result<()> {
        if place < self.wanted.first {
            return Ok(());
        }
        self.note(state, logits, token)
    }

    /// Forgets what will be computed again.
    pub(super) fn restart(&mut self) {
        self.captured.clear();
    }

    /// Gives what was kept to whoever learns.
    pub(super) fn keep(self) {
        self.wanted.ring.put(self.wanted.key, self.captured);
    }
}
