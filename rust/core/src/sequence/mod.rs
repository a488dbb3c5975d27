//! One request's tokens, and what becomes of the rows that are computed for it.

mod answer;
mod bans;
mod capturing;
mod comparing;
mod generation;
mod processing;
mod request;
mod thinking;
mod work;

use std::sync::Arc;

use crate::cancel::CancelFlag;
use crate::error::Error;
use crate::events::Usage;
use crate::ids::{SequenceId, TokenId};
use crate::kv::BlockTable;
use crate::learning::HeadAdapter;
use crate::lora::AdapterUse;
use crate::memory::Tenant;
use crate::model::Output;
use crate::prefix::radix_tree::NodeId;
use crate::prefix::{MissReason, Namespace};
use crate::speculation::DraftCounts;

pub use answer::{Answer, AnswerGround, AnswerStep};
pub(crate) use capturing::Capturing;
pub(crate) use comparing::Comparing;
pub(crate) use generation::{Generation, Ground};
pub use processing::LogitsProcessor;
pub use request::{
    Bounds, CandidatePlace, Candidates, GenerateTask, Request, Task, ThinkingBudget,
};
pub(crate) use work::{Scoring, Work};

/// A request inside the engine.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    pub(crate) cancel: CancelFlag,
    /// The prompt, then what was generated.
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) prompt_tokens: usize,
    /// Tokens whose keys and values are in `blocks`.
    pub(crate) computed: usize,
    pub(crate) blocks: BlockTable,
    /// Keeps what was found or made known in the prefix cache.
    pub(crate) pin: Option<NodeId>,
    /// Tokens that are known there.
    pub(crate) kept: usize,
    /// Whether the figures of the first lookup are taken.
    pub(crate) is_looked_up: bool,
    /// Tokens of the prompt that were found there.
    pub(crate) cached: usize,
    /// Why none was.
    pub(crate) cache_miss: Option<MissReason>,
    /// `None` where nothing is to be looked up or kept.
    pub(crate) cache_min_tokens: Option<usize>,
    /// Another sequence that computes the first so many tokens, for both.
    pub(crate) follows: Option<(SequenceId, usize)>,
    /// Set while it is set aside.
    pub(crate) paused: Option<Paused>,
    pub(crate) tenant: Option<Arc<Tenant>>,
    pub(crate) adapters: Arc<[AdapterUse]>,
    pub(crate) head: Option<Arc<HeadAdapter>>,
    /// Under which key the `computed` tokens are known, if at all.
    pub(crate) namespace: Namespace,
    pub(crate) work: Work,
    /// Why it cannot go on.
    pub(crate) failure: Option<Error>,
}

/// What is kept of a sequence that is set aside.
#[derive(Debug, Default)]
pub(crate) struct Paused {
    /// Tokens whose keys and values are in `bytes`; 0 where they are to be computed anew.
    pub(crate) computed: usize,
    /// Which places of its table had a block.
    pub(crate) places: Vec<bool>,
    /// These blocks, one after the other.
    pub(crate) bytes: Vec<u8>,
}

impl Sequence {
    /// Tokens that the next steps must compute.
    pub(crate) fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Takes in what was wanted of its next rows.
    pub(crate) fn take(&mut self, output: Output<'_>) {
        if self.failure.is_none() {
            self.failure = self.work.take(&self.tokens, output).err();
        }
    }

    /// What it took so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: match &self.work {
                Work::Generate(generation) => generation.generated,
                _ => 0,
            },
            cached_tokens: self.cached,
            cache_miss: self.cache_miss,
            drafts: match &self.work {
                Work::Generate(generation) => generation.draft_counts(),
                _ => DraftCounts::default(),
            },
        }
    }
}
