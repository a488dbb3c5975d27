//! Candidates at some places of a prompt: how likely each is, and what of the prompt others have computed or may use.

use super::request::Candidates;
use crate::error::Result;
use crate::sampling::LogprobMeter;

/// The places that are measured so far.
#[derive(Debug)]
pub(crate) struct Comparing {
    candidates: Candidates,
    meter: LogprobMeter,
    /// The position whose logits come next.
    position: usize,
    /// How many places are measured.
    measured: usize,
    logprobs: Vec<f32>,
}

impl Comparing {
    /// Of checked candidates: there is a place, and each has tokens.
    pub(crate) fn new(candidates: Candidates, meter: LogprobMeter) -> Self {
        let mut comparing = Self {
            candidates,
            meter,
            position: 0,
            measured: 0,
            logprobs: Vec::new(),
        };
        comparing.restart();
        comparing
    }

    /// The first position whose logits are wanted: all before it may come from the prefix cache.
    pub(super) fn first_position(&self) -> usize {
        self.candidates
            .places
            .first()
            .map_or(0, |place| place.after)
    }

    /// What the prefix cache may keep of the prompt.
    pub(super) fn shared_tokens(&self) -> usize {
        self.candidates.shared_tokens
    }

    /// Takes in the next rows of logits, each `width` wide.
    pub(super) fn take(&mut self, values: &[f32], width: usize) -> Result<()> {
        for logits in values.chunks_exact(width) {
            let next = self.candidates.places.get(self.measured);
            if let Some(place) = next.filter(|place| place.after == self.position) {
                let measured = self.meter.measure_each(logits, &place.tokens)?;
                self.logprobs.extend(measured);
                self.measured += 1;
            }
            self.position += 1;
        }
        Ok(())
    }

    /// The log-probabilities of all candidates, place by place.
    pub(super) fn result(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.logprobs)
    }

    pub(super) fn restart(&mut self) {
        self.position = self.first_position();
        self.measured = 0;
        self.logprobs.clear();
    }
}
