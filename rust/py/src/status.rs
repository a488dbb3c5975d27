//! `Status`: what planning needs to know of an engine.

use pyo3::prelude::*;
use ruvllm_core::engine;
use ruvllm_core::kv::BLOCK_TOKENS;

/// How far one sequence is.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
#[derive(Clone, Copy)]
pub(crate) struct SequenceStatus {
    sequence: u64,
    prompt_tokens: usize,
    computed_tokens: usize,
    total_tokens: usize,
    blocks: usize,
    is_paused: bool,
}

/// What planning needs to know.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct Status {
    sequences: Vec<SequenceStatus>,
    free_blocks: usize,
    held_blocks: usize,
    total_blocks: usize,
    block_tokens: usize,
    windows: Vec<Option<usize>>,
    block_bytes: usize,
    room_blocks: usize,
    swapped_bytes: usize,
    steps: u64,
    rows: u64,
    drafted_tokens: usize,
    accepted_tokens: usize,
    step_costs: Vec<(usize, f64)>,
}

impl Status {
    pub(crate) fn of(engine: &engine::Engine) -> Self {
        let kv = engine.kv();
        Self {
            sequences: engine.sequences().map(SequenceStatus::of).collect(),
            free_blocks: kv.free_blocks(),
            held_blocks: kv.held_blocks(),
            total_blocks: kv.total_blocks(),
            block_tokens: BLOCK_TOKENS,
            windows: kv.groups().held_windows(),
            block_bytes: kv.block_bytes(),
            room_blocks: kv.room_blocks(),
            swapped_bytes: engine.swapped_bytes(),
            steps: engine.steps(),
            rows: engine.rows(),
            drafted_tokens: engine.draft_counts().drafted,
            accepted_tokens: engine.draft_counts().accepted,
            step_costs: engine.step_costs(),
        }
    }
}

impl SequenceStatus {
    fn of(status: engine::SequenceStatus) -> Self {
        Self {
            sequence: status.sequence.0,
            prompt_tokens: status.prompt_tokens,
            computed_tokens: status.computed_tokens,
            total_tokens: status.total_tokens,
            blocks: status.blocks,
            is_paused: status.is_paused,
        }
    }
}
