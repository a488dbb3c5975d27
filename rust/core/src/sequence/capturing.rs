//! What a sequence keeps of its answer, row by row, for whoever gives feedback on it.

use crate::ids::TokenId;
use crate::learning::{Capture, Captured, CapturedToken};
use crate::sampling::TokenLogprobs;

/// An answer that is being kept.
#[derive(Debug)]
pub(crate) struct Capturing {
    wanted: Capture,
    captured: Captured,
}

impl Capturing {
    pub(crate) fn new(wanted: Capture, captured: Captured) -> Self {
        Self { wanted, captured }
    }

    /// Whether the token at a place of given ones belongs to the answer, and is kept.
    pub(super) fn wants_given(&self, place: usize) -> bool {
        place >= self.wanted.first && self.wants_more()
    }

    /// Whether another token is kept.
    pub(super) fn wants_more(&self) -> bool {
        self.captured.len() < self.wanted.ring.max_tokens()
    }

    /// Keeps a token of the answer and the state that it was said in; `measured` is how likely it was, and the
    /// likeliest tokens there.
    pub(super) fn note(
        &mut self,
        (state, logits): (&[f32], &[f32]),
        token: TokenId,
        measured: &TokenLogprobs,
    ) {
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
