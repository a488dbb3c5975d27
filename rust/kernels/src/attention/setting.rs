//! A task of attention and what was checked about it, as all steps of one hand it on.

use super::storage::KvView;
use super::task::{AttentionShape, AttentionTask, Dimensions};

/// Query rows that go through a segment together.
pub(crate) const QUERY_ROWS: usize = 6;

/// A task, and what was checked about it.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) kv: &'a KvView<'a>,
    pub(crate) shape: &'a AttentionShape,
    pub(crate) task: &'a AttentionTask<'a>,
    pub(crate) dimensions: Dimensions,
}

impl<'a> Setting<'a> {
    pub(crate) fn new(task: &'a AttentionTask<'a>) -> Self {
        Self {
            kv: &task.kv,
            shape: &task.shape,
            task,
            dimensions: task.check(),
        }
    }
}
