//! What adapters add: the same as weights to which `scale * B A` was added beforehand, in f64.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a test may have files")]

#[path = "support/cancelling_clock.rs"]
mod cancelling_clock;
#[path = "support/prompts.rs"]
mod prompts;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cancelling_clock::CancellingClock;
use prompts::prompt;
use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::engine::{Engine, EngineConfig, Plan, PlanRow};
use ruvllm_core::kv::KvWanted;
use ruvllm_core::lora::{AdapterUse, Matrix, ReadyAdapter, Values};
use ruvllm_core::model::{
    ActivationPrecision, AdapterPart, LoadOptions, Model, Module, load, open,
};
use ruvllm_core::sequence::{Request, Task};
use ruvllm_kernels::{KvFormat, ThreadPool};
use serde_json::{Value, json};
use support::{config, fixture, greedy, model, request, run_all};

const BASE: &str = "models/llama-gqa";
const LAYERS: usize = 3;
/// Every map with its inputs and outputs.
const MAPS: [(Module, &str, usize, usize); 7] = [
    (Module::Query, "self_attn.q_proj", 64, 64),
    (Module::Key, "self_attn.k_proj", 64, 32),
    (Module::Value, "self_attn.v_proj", 64, 32),
    (Module::AttentionOutput, "self_attn.o_proj", 64, 64),
    (Module::Gate, "mlp.gate_proj", 64, 96),
    (Module::Up, "mlp.up_proj", 64, 96),
    (Module::Down, "mlp.down_proj", 96, 64),
];
/// Of logits that are some units large; sums of f32 go in another order.
const TOLERANCE: f32 = 1e-3;

/// What is added to one map.
#[derive(Clone)]
struct Given {
    layer: usize,
    map: usize,
    rank: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    scale: f32,
    in_file_order: bool,
}

impl Given {
    /// Numbers that look random, another for each seed.
    fn new(layer: usize, map: usize, rank: usize, seed: u64) -> Self {
        let (_, _, inputs, outputs) = MAPS[map];
        let mut state = seed * 1000 + (layer * MAPS.len() + map) as u64;
        let mut numbers = |count: usize| -> Vec<f32> {
            let mut number = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005);
                state = state.wrapping_add(1_442_695_040_888_963_407);
                0.3 * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
            };
            (0..count).map(|_| number()).collect()
        };
        Self {
            layer,
            map,
            rank,
            a: numbers(rank * inputs),
            b: numbers(outputs * rank),
            scale: 1.5,
            in_file_order: false,
        }
    }

    fn part(&self) -> AdapterPart<'_> {
        let (module, _, inputs, outputs) = MAPS[self.map];
        let matrix = |values, rows, columns| Matrix {
            values: Values::Floats(values),
            rows,
            columns,
        };
        AdapterPart {
            layer: self.layer,
            module,
            a: matrix(&self.a, self.rank, inputs),
            b: matrix(&self.b, outputs, self.rank),
            scale: self.scale,
            in_file_order: self.in_file_order,
        }
    }

    /// Adds it to the map's own numbers.
    fn add_to(&self, weights: &mut BTreeMap<String, Vec<f64>>, scale: f32) {
        let (_, name, inputs, outputs) = MAPS[self.map];
        let key = format!("model.layers.{}.{name}.weight", self.layer);
        let sum = weights.get_mut(&key).unwrap();
        let factor = f64::from(self.scale) * f64::from(scale);
        for output in 0..outputs {
            for input in 0..inputs {
                let product = |rank: usize| {
                    f64::from(self.b[output * self.rank + rank])
                        * f64::from(self.a[rank * inputs + input])
                };
                sum[output * inputs + input] += factor * (0..self.rank).map(product).sum::<f64>();
            }
        }
    }
}

/// All maps of all layers, of ranks that differ.
fn everywhere(seed: u64) -> Vec<Given> {
    let places = (0..LAYERS).flat_map(|layer| (0..MAPS.len()).map(move |map| (layer, map)));
    places
        .map(|(layer, map)| Given::new(layer, map, 1 + (layer + 2 * map + seed as usize) % 5, seed))
        .collect()
}

fn adapter(model: &Model, generation: u64, given: &[Given]) -> Arc<ReadyAdapter> {
    let parts: Vec<_> = given.iter().map(Given::part).collect();
    Arc::new(model.adapter(&parts, generation).unwrap().into())
}

/// The base, with this added to its weights.
fn merged(added: &[(&[Given], f32)]) -> Arc<Model> {
    let bytes = std::fs::read(fixture(BASE).join("model.safetensors")).unwrap();
    let head_end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let head: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..head_end]).unwrap();
    let tensors = head.iter().filter(|(key, _)| *key != "__metadata__");
    let mut weights = BTreeMap::new();
    for (key, tensor) in tensors.clone() {
        let offset =
            |index: usize| head_end + tensor["data_offsets"][index].as_u64().unwrap() as usize;
        let numbers = bytes[offset(0)..offset(1)].chunks_exact(4);
        let numbers = numbers.map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
        weights.insert(key.clone(), numbers.collect::<Vec<f64>>());
    }
    for (given, scale) in added {
        given
            .iter()
            .for_each(|one| one.add_to(&mut weights, *scale));
    }
    let (mut written, mut data) = (serde_json::Map::new(), Vec::new());
    for (key, tensor) in tensors {
        let begin = data.len();
        data.extend(
            weights[key]
                .iter()
                .flat_map(|number| (*number as f32).to_le_bytes()),
        );
        let described =
            json!({"dtype": "F32", "shape": tensor["shape"], "data_offsets": [begin, data.len()]});
        written.insert(key.clone(), described);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture(BASE).join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let head = serde_json::to_vec(&written).unwrap();
    let file = [&(head.len() as u64).to_le_bytes()[..], &head, &data].concat();
    std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
    loaded(folder.path())
}

fn loaded(folder: &Path) -> Arc<Model> {
    let options = LoadOptions {
        kernels: ruvllm_kernels::best(),
        pool: Arc::new(ThreadPool::new(2)),
        precision: ActivationPrecision::Float,
        images: None,
    };
    Arc::new(load(&open(folder).unwrap(), &options, &mut |_, _| Ok(())).unwrap())
}

fn new_engine(model: &Arc<Model>) -> Engine {
    let mut settings: EngineConfig = config(model, 64);
    settings.kv = KvWanted::format(KvFormat::F32);
    settings.kv_bytes = model.kv_groups(settings.kv).unwrap().block_bytes() * 64;
    Engine::new(Arc::clone(model), None, vec![2], settings).unwrap()
}

fn uses(chosen: &[(&Arc<ReadyAdapter>, f32)]) -> Vec<AdapterUse> {
    let one = |&(adapter, scale): &(&Arc<ReadyAdapter>, f32)| AdapterUse {
        adapter: Arc::clone(adapter),
        scale,
    };
    chosen.iter().map(one).collect()
}

/// The logits of several prompts that go through together, so many tokens of each a step.
fn logits(
    model: &Arc<Model>,
    asked: &[(Vec<u32>, Vec<AdapterUse>)],
    at_once: usize,
) -> Vec<Vec<f32>> {
    let mut engine = new_engine(model);
    let ids: Vec<_> = asked
        .iter()
        .map(|(tokens, adapters)| {
            let mut request = request(tokens, Task::Logits);
            request.adapters.clone_from(adapters);
            engine.add(request).unwrap()
        })
        .collect();
    let mut outcomes = run_all(&mut engine, at_once);
    ids.iter()
        .map(|id| outcomes.remove(id).unwrap().values)
        .collect()
}

fn logits_of_one(model: &Arc<Model>, adapters: Vec<AdapterUse>) -> Vec<f32> {
    logits(model, &[(prompt(19, 1), adapters)], 8).remove(0)
}

fn difference(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other);
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

#[test]
fn each_map_has_what_is_added_to_it_and_no_other_has() {
    let base = loaded(&fixture(BASE));
    let none = logits_of_one(&base, vec![]);
    for (map, (_, name, _, _)) in MAPS.iter().enumerate() {
        let given = [Given::new(1, map, 3, 5)];
        let found = logits_of_one(&base, uses(&[(&adapter(&base, 1, &given), 1.0)]));
        let expected = logits_of_one(&merged(&[(&given, 1.0)]), vec![]);
        assert!(difference(&found, &expected) < TOLERANCE, "{name}");
        assert!(
            difference(&found, &none) > 20.0 * TOLERANCE,
            "{name} changed nothing"
        );
    }
}

#[test]
fn several_on_one_sequence_are_added_up_each_with_its_scale() {
    let base = loaded(&fixture(BASE));
    let (first, second) = (everywhere(1), everywhere(2));
    let third = vec![Given::new(0, 2, 2, 3), Given::new(2, 6, 7, 3)];
    let ready = [&first, &second, &third].map(|given| adapter(&base, given.len() as u64, given));
    let scales = [0.5, -1.25, 2.0];
    let chosen: Vec<_> = ready.iter().zip(scales).collect();
    let found = logits_of_one(&base, uses(&chosen));
    let added = [(&*first, 0.5), (&*second, -1.25), (&*third, 2.0)];
    let expected = logits_of_one(&merged(&added), vec![]);
    assert!(difference(&found, &expected) < TOLERANCE);
    let two = logits_of_one(&merged(&added[..2]), vec![]);
    assert!(difference(&found, &two) > 20.0 * TOLERANCE);
}

#[test]
fn every_row_of_a_batch_has_its_own() {
    let base = loaded(&fixture(BASE));
    let (first, second) = (everywhere(1), everywhere(2));
    let (one, other) = (adapter(&base, 1, &first), adapter(&base, 2, &second));
    let (one, other) = (&one, &other);
    let choices = [
        uses(&[(one, 1.0)]),
        vec![],
        uses(&[(one, 1.0), (other, 0.5)]),
        uses(&[(other, 1.0)]),
        vec![],
        uses(&[(one, 1.0)]),
        uses(&[(one, 0.25)]),
    ];
    let models = [
        merged(&[(&first, 1.0)]),
        Arc::clone(&base),
        merged(&[(&first, 1.0), (&second, 0.5)]),
        merged(&[(&second, 1.0)]),
        Arc::clone(&base),
        merged(&[(&first, 1.0)]),
        merged(&[(&first, 0.25)]),
    ];
    let asked: Vec<_> = choices
        .into_iter()
        .enumerate()
        .map(|(index, adapters)| (prompt(7 + 3 * index, index as u32), adapters))
        .collect();
    for at_once in [1, 5, 64] {
        let found = logits(&base, &asked, at_once);
        for (index, (model, (tokens, adapters))) in models.iter().zip(&asked).enumerate() {
            let expected = logits(model, &[(tokens.clone(), vec![])], 64).remove(0);
            let off = difference(&found[index], &expected);
            assert!(off < TOLERANCE, "{index} at {at_once}: {off}");
            let alone = logits(&base, &[(tokens.clone(), adapters.clone())], 64).remove(0);
            assert_eq!(
                found[index], alone,
                "{index} at {at_once} has other bits alone"
            );
        }
    }
}

#[test]
fn rows_of_q_and_k_that_stand_as_in_a_gguf_file_are_put_in_order() {
    let base = loaded(&fixture(BASE));
    for (map, (module, name, _, outputs)) in MAPS.into_iter().enumerate() {
        let given = Given::new(1, map, 3, 5);
        let mut turned = given.clone();
        turned.in_file_order = true;
        if matches!(module, Module::Query | Module::Key) {
            // A head has sixteen rows: those of its halves stand in turn.
            turned.b = (0..outputs)
                .flat_map(|row| {
                    let (head, place) = (row / 16, row % 16);
                    let from = 16 * head + 8 * (place % 2) + place / 2;
                    given.b[from * given.rank..(from + 1) * given.rank].to_vec()
                })
                .collect();
        }
        let found = logits_of_one(&base, uses(&[(&adapter(&base, 2, &[turned]), 1.0)]));
        let expected = logits_of_one(&base, uses(&[(&adapter(&base, 1, &[given]), 1.0)]));
        assert_eq!(found, expected, "{name}");
    }
}

/// What one says whom nobody is with.
fn alone(model: &Arc<Model>, asked: Request) -> Vec<u32> {
    let mut engine = support::engine(model, 64);
    let id = engine.add(asked).unwrap();
    run_all(&mut engine, 16).remove(&id).unwrap().tokens
}

#[test]
fn whoever_leaves_within_a_step_takes_nobodys_adapter_along() {
    let model = model(BASE);
    let (one, other) = (
        adapter(&model, 1, &everywhere(1)),
        adapter(&model, 2, &everywhere(2)),
    );
    // Those who leave stand before those who stay, between them and behind.
    let choices = [
        (true, uses(&[(&one, 1.0)])),
        (false, uses(&[(&other, 1.0)])),
        (true, uses(&[(&other, 1.0), (&one, 0.5)])),
        (false, vec![]),
        (false, uses(&[(&one, 1.0), (&other, -0.5)])),
        (true, vec![]),
    ];
    let asked = |index: usize| {
        let mut asked = request(&prompt(20, index as u32), Task::Generate(greedy(4)));
        asked.adapters.clone_from(&choices[index].1);
        asked
    };
    let alone: Vec<_> = (0..choices.len())
        .map(|index| alone(&model, asked(index)))
        .collect();
    for cancel_at in (0..120).step_by(3) {
        let mut engine = support::engine(&model, 64);
        let cancel = CancelFlag::default();
        let ids: Vec<_> = (0..choices.len())
            .map(|index| {
                let mut asked = asked(index);
                if choices[index].0 {
                    asked.cancel = cancel.clone();
                }
                engine.add(asked).unwrap()
            })
            .collect();
        engine.start_profile(Arc::new(CancellingClock::new(cancel_at, cancel)));
        let rows = ids.iter().map(|&sequence| PlanRow {
            sequence,
            prefill_tokens: 16,
        });
        let plan = Plan {
            rows: rows.collect(),
            max_steps: 1,
        };
        engine.advance(&plan).unwrap();
        let outcomes = run_all(&mut engine, 16);
        for (index, id) in ids
            .iter()
            .enumerate()
            .filter(|(index, _)| !choices[*index].0)
        {
            assert_eq!(
                outcomes[id].tokens, alone[index],
                "{index}, cancelled at {cancel_at}"
            );
        }
    }
}
