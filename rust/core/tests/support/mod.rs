//! Tiny reference models from `tests/fixtures`, and an engine run by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::engine::{Engine, EngineConfig, Pause, Plan, PlanRow};
use ruvllm_core::events::{Event, FinishReason};
use ruvllm_core::ids::{SequenceId, TokenId};
use ruvllm_core::kv::KvWanted;
use ruvllm_core::memory::Watermarks;
use ruvllm_core::model::{ActivationPrecision, LoadOptions, Model, load, open};
use ruvllm_core::prefix::PrefixLimits;
use ruvllm_core::sampling::{SamplingParams, TokenLogprobs};
use ruvllm_core::sequence::{Bounds, GenerateTask, Request, Task};
use ruvllm_kernels::ThreadPool;

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

pub fn model(name: &str) -> Arc<Model> {
    let files = open(&fixture(name)).unwrap();
    let options = LoadOptions {
        kernels: ruvllm_kernels::best(),
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Auto,
        images: None,
    };
    Arc::new(load(&files, &options, &mut |_, _| Ok(())).unwrap())
}

/// Settings with room for `rows` times sixteen tokens of all layers.
pub fn config(model: &Model, rows: usize) -> EngineConfig {
    let kv_bytes = model.kv_groups(KvWanted::default()).unwrap().row_bytes() * rows;
    EngineConfig {
        max_context: model.spec().max_context.min(512),
        kv_bytes,
        kv: KvWanted::default(),
        prefix: PrefixLimits {
            max_bytes: kv_bytes,
            max_entries: 1000,
        },
        watermarks: Watermarks::default(),
    }
}

/// An engine with room for `rows` times sixteen tokens of all layers.
pub fn engine(model: &Arc<Model>, rows: usize) -> Engine {
    Engine::new(Arc::clone(model), None, vec![2], config(model, rows)).unwrap()
}

pub fn greedy(max_tokens: usize) -> GenerateTask {
    let sampling = SamplingParams {
        temperature: 0.0,
        repetition_penalty: 1.0,
        ..SamplingParams::default()
    };
    GenerateTask {
        sampling: Box::new(sampling),
        seed: 1,
        max_tokens,
        bounds: Box::new(Bounds {
            ignore_end: true,
            ..Bounds::default()
        }),
        grammar: None,
        thinking: None,
        keep_special: vec![],
        prediction: None,
        processor: None,
    }
}

pub fn request(tokens: &[TokenId], task: Task) -> Request {
    Request {
        tokens: tokens.to_vec(),
        task,
        cancel: CancelFlag::default(),
        tenant: String::new(),
        adapters: vec![],
        head: None,
        capture: None,
        cache_min_tokens: None,
    }
}

/// What became of a sequence.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub tokens: Vec<TokenId>,
    pub values: Vec<f32>,
    pub scores: Vec<(TokenId, TokenLogprobs)>,
    pub reason: Option<&'static str>,
}

/// Runs every sequence to its end, `prefill` prompt tokens a step.
pub fn run_all(engine: &mut Engine, prefill: usize) -> BTreeMap<SequenceId, Outcome> {
    run_rows(engine, prefill);
    outcomes(engine)
}

/// The same, and leaves the events where they are.
pub fn run_rows(engine: &mut Engine, prefill: usize) {
    loop {
        let rows: Vec<PlanRow> = engine
            .sequences()
            .map(|status| PlanRow {
                sequence: status.sequence,
                prefill_tokens: prefill,
            })
            .collect();
        if rows.is_empty() {
            break;
        }
        let pause = engine
            .advance(&Plan {
                rows,
                max_steps: 100,
            })
            .unwrap();
        assert_ne!(pause, Pause::Blocks, "the pool is too small for the test");
    }
}

pub fn outcomes(engine: &Engine) -> BTreeMap<SequenceId, Outcome> {
    let mut outcomes: BTreeMap<SequenceId, Outcome> = BTreeMap::default();
    for event in engine.controls().events().take() {
        match event {
            Event::Token {
                sequence, token, ..
            } => outcomes.entry(sequence).or_default().tokens.push(token),
            Event::Values { sequence, values } => {
                outcomes.entry(sequence).or_default().values = values;
            }
            Event::Scores { sequence, scores } => {
                outcomes.entry(sequence).or_default().scores = scores;
            }
            Event::Finished {
                sequence, reason, ..
            } => {
                outcomes.entry(sequence).or_default().reason = Some(FinishReason::name(reason));
            }
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    outcomes
}
