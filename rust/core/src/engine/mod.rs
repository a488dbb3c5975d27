//! The engine: sequences over one model and one pool of key-value blocks.
//!
//! [`Engine::advance`] runs a plan step after step (forward, choose, publish) until someone has to
//! decide: a sequence ended, a caller interrupts, blocks are short, or the plan's horizon is
//! reached. Who is in a plan is decided elsewhere.

mod admit;
mod choose;
mod evaluate;
mod memory;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ruvllm_kernels::KvFormat;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::{Event, EventQueue, FinishReason, Usage};
use crate::ids::{SequenceId, TokenId};
use crate::kv::KvPool;
use crate::memory::{PAGE_BYTES, PagePoolConfig, Watermarks};
use crate::model::{LogitsBuffers, Model, Workspace};
use crate::prefix::{PrefixCache, PrefixLimits};
use crate::profile::{Profile, ProfileReport};
use crate::sampling::LogprobMeter;
use crate::sequence::{Sequence, Work};
use crate::text::Vocabulary;

/// How an engine is set up.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Longest sequence, prompt and answer.
    pub max_context: usize,
    /// Bytes of the key-value pool.
    pub kv_bytes: usize,
    /// How the pool stores numbers; `None`: as fits the model.
    pub kv_format: Option<KvFormat>,
    /// What of the pool prefixes that nobody uses may hold.
    pub prefix: PrefixLimits,
    /// When they have to go.
    pub watermarks: Watermarks,
}

/// Who takes part in the next steps.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The sequences.
    pub rows: Vec<PlanRow>,
    /// Decide anew after so many steps.
    pub max_steps: usize,
}

/// One sequence of a plan.
#[derive(Debug, Clone, Copy)]
pub struct PlanRow {
    /// Which.
    pub sequence: SequenceId,
    /// At most so many tokens of its prompt in one step.
    pub prefill_tokens: usize,
}

/// Why `advance` returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// At least one sequence ended.
    Finished,
    /// Someone called [`Controls::interrupt`].
    Interrupted,
    /// The plan's steps are done, or nobody of it has anything to compute.
    Horizon,
    /// A sequence needed a block and there was none; the others had their step.
    Blocks,
}

impl Pause {
    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Horizon => "horizon",
            Self::Blocks => "blocks",
        }
    }
}

/// What other threads may do while the engine runs.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    events: Arc<EventQueue>,
    interrupt: Arc<AtomicBool>,
}

impl Controls {
    /// Makes `advance` return after the step that is running.
    pub fn interrupt(&self) {
        self.interrupt.store(true, Ordering::Release);
    }

    /// The events of all sequences.
    pub fn events(&self) -> &EventQueue {
        &self.events
    }
}

/// How far a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceStatus {
    /// Which.
    pub sequence: SequenceId,
    /// Tokens of its prompt.
    pub prompt_tokens: usize,
    /// Tokens in the cache.
    pub computed_tokens: usize,
    /// Tokens in all: computed, to compute, generated.
    pub total_tokens: usize,
    /// Blocks that it holds.
    pub blocks: usize,
    /// Whether it is set aside.
    pub is_paused: bool,
}

/// Sequences over one model and one pool.
#[derive(Debug)]
pub struct Engine {
    model: Arc<Model>,
    vocabulary: Option<Arc<Vocabulary>>,
    end_tokens: Vec<TokenId>,
    max_context: usize,
    kv: KvPool,
    prefix: PrefixCache,
    /// Bytes kept of sequences that are set aside.
    swapped_bytes: usize,
    sequences: BTreeMap<SequenceId, Sequence>,
    next_id: u64,
    /// Steps that were run to their end, and their rows.
    steps: u64,
    rows: u64,
    controls: Controls,
    batch: Batch,
    work: Workspace,
    last_hidden: Vec<f32>,
    logits: Vec<f32>,
    logits_buffers: LogitsBuffers,
    meter: LogprobMeter,
    profile: Option<Arc<Profile>>,
}

impl Engine {
    /// An engine without sequences.
    pub fn new(
        model: Arc<Model>,
        vocabulary: Option<Arc<Vocabulary>>,
        end_tokens: Vec<TokenId>,
        config: EngineConfig,
    ) -> Result<Self> {
        let limit = model.spec().max_context;
        if config.max_context == 0 || config.max_context > limit {
            return Err(Error::Config(format!(
                "max_context = {}; this model allows 1 to {limit}",
                config.max_context
            )));
        }
        let pages = PagePoolConfig {
            budget_bytes: config.kv_bytes,
            page_bytes: PAGE_BYTES,
            watermarks: config.watermarks,
        };
        let kv = KvPool::new(model.kv_layout(config.kv_format), pages)?;
        Ok(Self {
            meter: LogprobMeter::new(model.shared_kernels()),
            model,
            vocabulary,
            end_tokens,
            max_context: config.max_context,
            kv,
            prefix: PrefixCache::new(config.prefix),
            swapped_bytes: 0,
            sequences: BTreeMap::new(),
            next_id: 1,
            steps: 0,
            rows: 0,
            controls: Controls::default(),
            batch: Batch::default(),
            work: Workspace::default(),
            last_hidden: Vec::new(),
            logits: Vec::new(),
            logits_buffers: LogitsBuffers::default(),
            profile: None,
        })
    }

    /// What other threads may do.
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// The pool of blocks.
    pub fn kv(&self) -> &KvPool {
        &self.kv
    }

    /// Every sequence, by age.
    pub fn sequences(&self) -> impl Iterator<Item = SequenceStatus> {
        self.sequences.values().map(|sequence| SequenceStatus {
            sequence: sequence.id,
            prompt_tokens: sequence.prompt_tokens,
            computed_tokens: sequence.computed,
            total_tokens: sequence.tokens.len(),
            blocks: sequence.blocks.len(),
            is_paused: sequence.paused.is_some(),
        })
    }

    /// Steps that were run to their end, since the beginning.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Tokens that were computed in all of them.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that are kept of sequences that are set aside.
    pub fn swapped_bytes(&self) -> usize {
        self.swapped_bytes
    }

    /// Times the steps from here on, by operation; what was recorded before is dropped.
    pub fn start_profile(&mut self, clock: Arc<dyn Clock>) {
        self.profile = Some(Arc::new(Profile::new(clock)));
    }

    /// Ends that and gives what was recorded; `None` where nothing was.
    pub fn take_profile(&mut self) -> Option<ProfileReport> {
        self.profile.take().map(|profile| profile.report())
    }

    /// Runs the plan until someone has to decide.
    pub fn advance(&mut self, plan: &Plan) -> Result<Pause> {
        for _ in 0..plan.max_steps {
            self.make_room_for_others();
            if self.end_cancelled() {
                return Ok(Pause::Finished);
            }
            if self.controls.interrupt.swap(false, Ordering::AcqRel) {
                return Ok(Pause::Interrupted);
            }
            if let Some(pause) = self.step(plan)? {
                return Ok(pause);
            }
        }
        Ok(if self.end_cancelled() {
            Pause::Finished
        } else {
            Pause::Horizon
        })
    }

    /// Ends every sequence whose caller does not want more; whether there was one.
    fn end_cancelled(&mut self) -> bool {
        let cancelled: Vec<SequenceId> = self
            .sequences
            .values()
            .filter(|sequence| sequence.cancel.is_cancelled())
            .map(|sequence| sequence.id)
            .collect();
        for id in &cancelled {
            self.finish(*id, FinishReason::Cancelled);
        }
        !cancelled.is_empty()
    }

    /// Ends a sequence well.
    fn finish(&mut self, id: SequenceId, reason: FinishReason) {
        let Some(mut sequence) = self.take_out(id) else {
            return;
        };
        let usage = Usage {
            prompt_tokens: sequence.prompt_tokens,
            completion_tokens: sequence.generated(),
            cached_tokens: sequence.cached,
            cache_miss: sequence.cache_miss,
        };
        let text = match &mut sequence.work {
            Work::Generate(generation) => generation.rest(),
            _ => String::new(),
        };
        if reason == FinishReason::Done
            && let Some(result) = evaluate::result_of(&mut sequence)
        {
            self.controls.events.push(result);
        }
        self.controls.events.push(Event::Finished {
            sequence: id,
            reason,
            text,
            usage,
        });
    }

    /// Ends a sequence with an error.
    fn fail(&mut self, id: SequenceId, error: Error) {
        if self.take_out(id).is_some() {
            self.controls.events.push(Event::Failed {
                sequence: id,
                error,
            });
        }
    }

    /// Removes a sequence and gives its blocks back.
    fn take_out(&mut self, id: SequenceId) -> Option<Sequence> {
        let mut sequence = self.sequences.remove(&id)?;
        self.release(&mut sequence);
        if let Some(paused) = sequence.paused.take() {
            self.swapped_bytes -= paused.bytes.len();
        }
        Some(sequence)
    }
}
