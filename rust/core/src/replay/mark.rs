//! A number for each text, which no other text of a run has but by an accident of 64 bits.

use crate::batch::BatchSequence;
use crate::ids::TokenId;
use crate::lora::key_of;
use crate::model::spec::ModelSpec;
use crate::sampling::mix;

/// A text, and under which adapters and rotary frequencies it is read: all that its keys and values depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark(pub(super) u64);

impl Mark {
    /// Before the first token of a sequence.
    pub(super) fn begin(rows: &BatchSequence, spec: &ModelSpec) -> Self {
        let regimes = spec.rope_regimes(rows.rope_length);
        Self(key_of(&rows.adapters)).and(regimes)
    }

    /// One token further.
    pub(super) fn then(self, token: TokenId) -> Self {
        self.and(u64::from(token))
    }

    /// Mixes a number in.
    pub(super) fn and(self, number: u64) -> Self {
        let step = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(mix(self.0.wrapping_add(step)))
    }
}
