//! What an engine has done, and where its time goes when somebody wants to know.

use std::sync::Arc;

use crate::profile::Profile;

/// Counts of steps, and the profile that is being recorded.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Batches that were run to their end.
    pub(super) steps: u64,
    /// The rows of all of them.
    pub(super) rows: u64,
    pub(super) profile: Option<Arc<Profile>>,
}

impl Watch {
    /// A batch ended with so many rows; with none, nothing was computed.
    pub(super) fn note(&mut self, rows: usize) {
        self.steps += u64::from(rows > 0);
        self.rows += rows as u64;
    }
}
