//! The engine: sequences over one model and one pool of key-value blocks.
//!
//! [`Engine::advance`] runs a plan step after step (forward, choose, publish) until someone has to
//! decide: a sequence ended, a caller interrupts, blocks are short, or the plan's horizon is
//! reached. Who is in a plan is decided elsewhere.

mod admit;
mod draft_model;
mod drafts;
mod guesses;
mod leave;
mod memory;
mod model_guesses;
mod sequences;
mod setup;
mod step;
mod watch;

use std::io::{Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ruvllm_kernels::ThreadPool;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::events::EventQueue;
use crate::ids::SequenceId;
use crate::kv::KvPool;
use crate::model::Runner;
use crate::prefix::PrefixStats;
use crate::prefix::file::{Loaded, Snapshot};
use crate::profile::{Profile, ProfileReport};
use crate::sequence::Ground;

pub use setup::EngineConfig;

use drafts::Drafts;
use memory::Memory;
use sequences::Sequences;
use watch::Watch;

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

/// Sequences over one model and one pool: the model at work, the memory that they share, and they
/// themselves.
#[derive(Debug)]
pub struct Engine {
    runner: Box<dyn Runner>,
    /// What choices are made with.
    threads: Arc<ThreadPool>,
    memory: Memory,
    sequences: Sequences,
    controls: Controls,
    /// What all that generate have in common.
    ground: Ground,
    /// What is guessed of answers; `None` where nothing is.
    drafts: Option<Drafts>,
    watch: Watch,
}

impl Engine {
    /// What other threads may do.
    pub fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// Runs the plan until someone has to decide.
    pub fn advance(&mut self, plan: &Plan) -> Result<Pause> {
        for _ in 0..plan.max_steps {
            self.memory.make_room_for_others(self.runner.blocks());
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

    /// Forgets prefixes until others of the budget have so many bytes, as far as there are any.
    pub fn make_room(&mut self, bytes: usize) {
        self.memory.give_back(bytes, self.runner.blocks());
    }

    /// Every sequence, by age.
    pub fn sequences(&self) -> impl Iterator<Item = SequenceStatus> {
        self.sequences.iter().map(|sequence| SequenceStatus {
            sequence: sequence.id,
            prompt_tokens: sequence.prompt_tokens,
            computed_tokens: sequence
                .paused
                .as_ref()
                .map_or(sequence.computed, |paused| paused.computed),
            total_tokens: sequence.tokens.len(),
            blocks: sequence.blocks.held(),
            is_paused: sequence.paused.is_some(),
        })
    }

    /// Sets a sequence aside so that others have its blocks; with `swap` their bytes are kept.
    pub fn preempt(&mut self, id: SequenceId, swap: bool) -> Result<()> {
        let Some(sequence) = self.sequences.get_mut(id) else {
            return Err(Error::NotFound(format!("sequence {} is not in", id.0)));
        };
        self.memory.set_aside(sequence, swap, self.runner.blocks());
        Ok(())
    }

    /// Steps that were run to their end, since the beginning.
    pub fn steps(&self) -> u64 {
        self.watch.steps
    }

    /// Tokens that were computed in all of them.
    pub fn rows(&self) -> u64 {
        self.watch.rows
    }

    /// Times the steps from here on, by operation; what was recorded before is dropped.
    pub fn start_profile(&mut self, clock: Arc<dyn Clock>) {
        self.watch.profile = Some(Arc::new(Profile::new(clock)));
    }

    /// Ends that and gives what was recorded; `None` where nothing was.
    pub fn take_profile(&mut self) -> Option<ProfileReport> {
        self.watch.profile.take().map(|profile| profile.report())
    }
}

impl Engine {
    /// The pool of blocks.
    pub fn kv(&self) -> &KvPool {
        &self.memory.kv
    }

    /// Bytes that are kept of sequences that are set aside.
    pub fn swapped_bytes(&self) -> usize {
        self.memory.swapped_bytes()
    }

    /// Gives the pages back that no block stands on. Until then they stay committed: the next request
    /// would only make the system find them anew.
    pub fn trim(&mut self) {
        self.memory.kv.trim(self.runner.blocks());
        if let Some(model) = self
            .drafts
            .as_mut()
            .and_then(|drafts| drafts.model.as_mut())
        {
            model.trim();
        }
    }

    /// The prefix cache's counters.
    pub fn prefix_stats(&self) -> PrefixStats {
        self.memory.prefix_stats()
    }

    /// Forgets every prefix that nobody uses, and gives its memory back; what answers said is forgotten with them.
    pub fn clear_prefixes(&mut self) {
        if let Some(drafts) = &mut self.drafts {
            drafts.forget();
        }
        self.memory.clear_prefixes(self.runner.blocks());
    }

    /// All prefixes as they are now, to be written; `model` names what they belong to.
    pub fn snapshot_prefixes(&self, model: &str) -> Snapshot {
        self.memory.snapshot_prefixes(model)
    }

    /// The next bytes, about `limit` of them, of the file that keeps a snapshot; none at its end.
    pub fn next_piece(&mut self, snapshot: &mut Snapshot, limit: usize) -> Vec<u8> {
        snapshot.next_piece(&self.memory.kv, self.runner.blocks(), limit)
    }

    /// Reads prefixes that were written before, as far as there is room.
    pub fn load_prefixes<F: Read + Seek>(&mut self, model: &str, file: &mut F) -> Result<Loaded> {
        let most = self.ground.max_context;
        let blocks = self.runner.blocks();
        self.memory.load_prefixes(model, most, file, blocks)
    }

    /// What must hold between steps; a text that says what does not.
    pub fn check_invariants(&self) -> std::result::Result<(), String> {
        if let Some(model) = self
            .drafts
            .as_ref()
            .and_then(|drafts| drafts.model.as_ref())
        {
            model.check_invariants(|id| self.sequences.get(id))?;
        }
        self.memory.check_invariants(self.sequences.iter())
    }
}
