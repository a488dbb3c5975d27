//! Logits that are changed for one choice, and put back behind it.
//!
//! Every change is noted with the value before it: once the token is picked the caller gets its logits back as the
//! model made them, which is also what log-probabilities are read from.

use crate::ids::TokenId;

/// What stood in the logits before each change, in the order of the changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes(Vec<(TokenId, f32)>);

impl Changes {
    /// Changes the logit of a token.
    ///
    /// Tokens beyond the logits are left out: a draft or padded vocabulary may be shorter.
    pub(super) fn make(
        &mut self,
        logits: &mut [f32],
        token: TokenId,
        changed: impl FnOnce(f32) -> f32,
    ) {
        if let Some(logit) = logits.get_mut(token as usize) {
            self.0.push((token, *logit));
            *logit = changed(*logit);
        }
    }

    /// Whether all logits are as they came.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all changes back, the last one first.
    pub(super) fn take_back(&mut self, logits: &mut [f32]) {
        for (token, original) in self.0.drain(..).rev() {
            logits[token as usize] = original;
        }
    }
}
