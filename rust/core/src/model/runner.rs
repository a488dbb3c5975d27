//! What computes for an engine: batches in, what is wanted of their rows out. An engine knows nothing else of it, and it
//! knows of no request.
//!
//! A model on the processor is one ([`super::ModelRunner`]), a tape of what one said another (`replay::Replayer`).

use std::fmt;

use crate::batch::Batch;
use crate::error::Result;
use crate::ids::SequenceId;
use crate::kv::BlockStore;
use crate::profile::Profile;

use super::spec::ModelSpec;

/// Rows whose logits are handed over together, at most: a head is read once for all of them.
pub(crate) const LOGIT_ROWS: usize = 32;

/// A model at work, with the bytes of the blocks that its keys and values are in.
pub(crate) trait Runner: fmt::Debug + Send {
    /// What an engine has to know of the model: how many tokens there are, how long a context may be.
    fn spec(&self) -> &ModelSpec;

    /// The bytes of its blocks.
    fn blocks(&mut self) -> &mut dyn BlockStore;

    /// Hears that a sequence is over.
    fn leave(&mut self, sequence: SequenceId) {
        let _ = sequence;
    }

    /// Runs a batch to its end and hands over what is wanted of its rows. The batch loses those who cancel
    /// meanwhile; where it is empty afterwards, nothing was computed.
    fn run(
        &mut self,
        batch: &mut Batch,
        profile: Option<&Profile>,
        take: &mut Taking<'_>,
    ) -> Result<()>;
}

/// What was wanted of some rows of a sequence, each row behind the one before.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) owner: SequenceId,
    /// Logits or last hidden states, `[rows, width]`.
    pub(crate) values: &'a mut [f32],
    pub(crate) width: usize,
    /// Beside logits the last hidden states, as they were before any head adapter; empty where nobody keeps them.
    pub(crate) states: &'a [f32],
}

/// Who takes outputs in, as they come.
pub(crate) type Taking<'a> = dyn FnMut(Vec<Output<'_>>) + 'a;
