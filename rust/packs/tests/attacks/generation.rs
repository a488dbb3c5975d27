//! Whole generations with packs in the forward pass: the tokens are the native kernels', whatever kernels do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::engine::{Engine, EngineConfig, Plan, PlanRow};
use ruvllm_core::events::Event;
use ruvllm_core::kv::KvWanted;
use ruvllm_core::memory::Watermarks;
use ruvllm_core::model::{ActivationPrecision, LoadOptions, load, open};
use ruvllm_core::prefix::PrefixLimits;
use ruvllm_core::sampling::SamplingParams;
use ruvllm_core::sequence::{Bounds, GenerateTask, Request, Task};
use ruvllm_kernels::{Kernels, ThreadPool};
use ruvllm_packs::{Downgrade, Floors, Operation, PackManager};

use crate::kernels::rms_norm;
use crate::reference;
use crate::support::{TestPack, manager, native, sandbox};

/// The width of the model's rows.
const HIDDEN: usize = 64;
const GENERATED: usize = 24;

fn engine(model: &str, kernels: Arc<dyn Kernels>) -> Engine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
    let files = open(&path.join(model)).unwrap();
    let options = LoadOptions {
        kernels,
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Auto,
        images: None,
    };
    let model = Arc::new(load(&files, &options, &mut |_, _| Ok(())).unwrap());
    let config = EngineConfig {
        max_context: 256,
        kv_bytes: model.kv_groups(KvWanted::default()).unwrap().block_bytes() * 128,
        kv: KvWanted::default(),
        prefix: PrefixLimits {
            max_bytes: 0,
            max_entries: 0,
        },
        watermarks: Watermarks::default(),
    };
    Engine::new(model, None, vec![2], config).unwrap()
}

/// The tokens of `count` requests, by request, greedily.
fn tokens(engine: &mut Engine, count: u32) -> Vec<Vec<u32>> {
    for first in 0..count {
        let sampling = SamplingParams {
            temperature: 0.0,
            repetition_penalty: 1.0,
            ..SamplingParams::default()
        };
        let task = GenerateTask {
            sampling: Box::new(sampling),
            seed: 1,
            max_tokens: GENERATED,
            bounds: Box::new(Bounds {
                ignore_end: true,
                ..Bounds::default()
            }),
            grammar: None,
            thinking: None,
            keep_special: vec![],
            prediction: None,
            processor: None,
        };
        let request = Request {
            tokens: (0..12).map(|index| 3 + (first + 5 * index) % 60).collect(),
            task: Task::Generate(task),
            cancel: CancelFlag::default(),
            tenant: String::new(),
            adapters: vec![],
            head: None,
            capture: None,
            cache_min_tokens: None,
        };
        engine.add(request).unwrap();
    }
    let row = |sequence| PlanRow {
        sequence,
        prefill_tokens: 8,
    };
    while engine.sequences().next().is_some() {
        let rows = engine
            .sequences()
            .map(|status| row(status.sequence))
            .collect();
        engine.advance(&Plan { rows, max_steps: 1 }).unwrap();
    }
    let mut found: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for event in engine.controls().events().take() {
        match event {
            Event::Token {
                sequence, token, ..
            } => found.entry(sequence).or_default().push(token),
            Event::Failed { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
    found.into_values().collect()
}

#[test]
fn the_reference_pack_gives_the_same_tokens() {
    for model in [
        "llama-gqa",
        "qwen3-qknorm",
        "gemma3-dual-rope",
        "phi3-fused",
    ] {
        let expected = tokens(&mut engine(model, native()), 3);
        let host = PackManager::new(sandbox(), reference::trust(), native(), Floors::default());
        let mut packed = engine(model, host.kernels());
        assert_eq!(tokens(&mut packed, 3), expected, "{model} without a pack");
        assert!(
            Operation::IN_FORWARD_PASS
                .iter()
                .all(|operation| host.counters().of(*operation).pack == 0)
        );
        host.activate_verified(reference::pack(), Downgrade::Refuse)
            .unwrap();
        let before =
            Operation::IN_FORWARD_PASS.map(|operation| host.counters().of(operation).native);
        assert_eq!(tokens(&mut packed, 3), expected, "{model}");
        for operation in Operation::IN_FORWARD_PASS {
            let counts = host.counters().of(operation);
            assert!(
                counts.pack > 0,
                "{model}: {operation:?} never ran in the pack"
            );
            assert_eq!(
                counts.native, before[operation as usize],
                "{model}: {operation:?}"
            );
        }
    }
}

/// RMSNorm that does this in every seventh call of the model.
fn seventh(mischief: &str) -> TestPack {
    let count = "(i32.store (i32.const 128) (i32.add (i32.load (i32.const 128)) (i32.const 1)))";
    let trick =
        format!("{count} (if (i32.eq (i32.load (i32.const 128)) (i32.const 7)) (then {mischief}))");
    let text = rms_norm(&trick).replace("(i32.const 48)", &format!("(i32.const {HIDDEN})"));
    TestPack::of(&text)
}

#[test]
fn case_53_mischief_in_the_middle_of_a_generation() {
    let expected = tokens(&mut engine("llama-gqa", native()), 2);
    let kinds = [
        ("unreachable", "trap"),
        ("(loop $again (br $again))", "deadline"),
        ("(return (i32.const 6))", "error_code"),
        (
            "(f32.store (local.get $y) (f32.const nan)) (return (i32.const 0))",
            "not_finite",
        ),
    ];
    for (mischief, reason) in kinds {
        let host = manager();
        seventh(mischief).with_ticks(20).activate(&host).unwrap();
        let mut packed = engine("llama-gqa", host.kernels());
        for _ in 0..2 {
            assert_eq!(tokens(&mut packed, 2), expected, "{mischief}");
        }
        let counts = host.counters().of(Operation::RmsNorm);
        assert!(
            counts.pack > 0 && counts.fallbacks[reason] > 0,
            "{mischief}: {counts:?}"
        );
    }
}

#[test]
fn case_59_upgrades_under_sixteen_streams() {
    let expected = tokens(&mut engine("llama-gqa", native()), 16);
    let host = manager();
    let folders = ["1.0.0", "1.1.0"].map(|version| {
        TestPack::rms_norm("nop")
            .version(version)
            .with_ticks(1000)
            .write()
    });
    host.activate(folders[0].path(), Downgrade::Refuse).unwrap();
    let mut packed = engine("llama-gqa", host.kernels());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let mut changes = 0;
            while !is_over.load(Ordering::Relaxed) {
                host.activate(folders[1].path(), Downgrade::Refuse).unwrap();
                host.rollback().unwrap();
                changes += 1;
            }
            changes
        });
        assert_eq!(tokens(&mut packed, 16), expected);
        is_over.store(true, Ordering::Relaxed);
        assert!(changes.join().unwrap() > 0);
    });
    let counts = host.counters().of(Operation::RmsNorm);
    assert!(counts.pack > 0 && counts.fallbacks.is_empty(), "{counts:?}");
}
