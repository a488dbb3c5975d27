//! Guesses never change an answer: tokens, texts, log-probabilities and ends are those of an engine without any, whoever
//! guesses and whatever else goes on.
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

#[path = "support/guessing.rs"]
mod guessing;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use guessing::{Answer, Guesses, answers_alone, run_in_turns, speculation, vocabulary};
use proptest::prelude::*;
use ruvllm_core::engine::Engine;
use ruvllm_core::grammar::{Grammar, GrammarSource, GrammarVocabulary, Start};
use ruvllm_core::kv::KvWanted;
use ruvllm_core::lora::{AdapterUse, Matrix, Values};
use ruvllm_core::model::{AdapterPart, Model, Module};
use ruvllm_core::sampling::{Dry, DynamicTemperature, Mirostat, SamplingParams, Xtc};
use ruvllm_core::sequence::{Bounds, GenerateTask, Request, Task, ThinkingBudget};
use ruvllm_core::speculation::Lengths;
use ruvllm_core::text::Vocabulary;
use ruvllm_kernels::KvFormat;
use support::{config, greedy, model, request};

const MODELS: [&str; 4] = [
    "models/llama-gqa",
    "models/gemma2-softcap",
    "models/phi3-longrope",
    "gguf/qwen3-qknorm.gguf",
];

/// One request of a load, by numbers.
#[derive(Debug, Clone)]
struct Asked {
    prompt: Vec<u32>,
    max_tokens: usize,
    temperature: f32,
    filters: (usize, f32, f32),
    penalties: (f32, f32, f32),
    /// One of [`with_samplers`].
    samplers: usize,
    seed: u64,
    stop: Option<u8>,
    grammar: usize,
    logprobs: Option<usize>,
    is_cached: bool,
    is_adapted: bool,
    thinks: bool,
    /// Letters that must not be in it, as a text; a stop token; and tokens before it may end.
    banned: Option<String>,
    stop_token: Option<u32>,
    min_tokens: usize,
}

fn asked() -> impl Strategy<Value = Asked> {
    // Of few words, so that much of it repeats.
    let prompt = (
        prop::collection::vec(prop_oneof![3_u32..9, 3_u32..200], 1..40),
        1_usize..4,
    )
        .prop_map(|(words, times)| words.repeat(times));
    let sampling = (
        prop_oneof![3 => Just(0.0_f32), 1 => Just(0.3), 1 => Just(0.9), 1 => Just(1.7)],
        prop_oneof![
            Just((0, 1.0, 0.0)),
            Just((5, 1.0, 0.0)),
            Just((0, 0.8, 0.0)),
            Just((0, 1.0, 0.1))
        ],
        prop_oneof![Just((1.0, 0.0, 0.0)), Just((1.2, 0.5, 0.25))],
        any::<u64>(),
        prop_oneof![1 => Just(0_usize), 1 => 1_usize..8],
    );
    let rest = (
        1_usize..40,
        prop_oneof![2 => Just(None), 1 => (b'a'..=b'z').prop_map(Some)],
        prop_oneof![2 => Just(0_usize), 1 => 0_usize..5],
        prop_oneof![Just(None), Just(Some(0)), Just(Some(3))],
        any::<bool>(),
        prop_oneof![2 => Just(false), 1 => Just(true)],
        prop_oneof![2 => Just(false), 1 => Just(true)],
    );
    let ends = (
        prop_oneof![2 => Just(None), 1 => "[a-e]{1,3}".prop_map(Some)],
        prop_oneof![2 => Just(None), 1 => (3_u32..40).prop_map(Some)],
        prop_oneof![2 => Just(0_usize), 1 => 0_usize..20],
    );
    (prompt, sampling, rest, ends).prop_map(|(prompt, sampling, rest, ends)| Asked {
        banned: ends.0,
        stop_token: ends.1,
        min_tokens: ends.2,
        prompt,
        temperature: sampling.0,
        filters: sampling.1,
        penalties: sampling.2,
        seed: sampling.3,
        samplers: sampling.4,
        max_tokens: rest.0,
        stop: rest.1,
        grammar: rest.2,
        logprobs: rest.3,
        is_cached: rest.4,
        is_adapted: rest.5,
        thinks: rest.6,
    })
}

/// Samplers that keep a state from token to token, or look at every logit: none, each by itself, all together.
fn with_samplers(which: usize) -> SamplingParams {
    let mut params = SamplingParams::default();
    let is_on = |number: usize| which == number || which == 7;
    if is_on(1) {
        let breakers = vec!["b".to_owned(), "cd".to_owned()];
        params.dry = Some(Dry::from((0.8, 1.5, 1, Some(30), breakers)));
    }
    if is_on(2) {
        params.xtc = Some(Xtc::from((0.5, 0.02)));
    }
    if is_on(3) {
        params.dynamic_temperature = Some(DynamicTemperature::from((0.7, 1.3)));
    }
    if is_on(4) {
        params.mirostat = Some(Mirostat::from((4.0, 0.5)));
    }
    if is_on(5) {
        params.typical_p = 0.8;
    }
    if is_on(6) {
        params.top_n_sigma = 2.0;
    }
    params
}

/// Nothing, what leaves much free, and what forces tokens.
fn grammars(model: &Model) -> Vec<Option<Arc<Grammar>>> {
    let words = GrammarVocabulary::new(vocabulary(model), &[2], None).unwrap();
    let words = Arc::new(words);
    let compiled = |regex: &str| {
        let source = GrammarSource::Regex(regex.to_owned());
        Some(Arc::new(Grammar::compile(&words, &source).unwrap()))
    };
    vec![
        None,
        compiled("[a-m]*"),
        compiled("[a-p]{3,6}(quite|unlike)[a-z]{2,9}"),
        compiled("(one|two|three)+"),
        None,
    ]
}

/// What changes every answer's queries, alone and beside others.
fn adapter(model: &Model) -> AdapterUse {
    let (inputs, outputs) = model.map_shape(Module::Query).unwrap();
    let number = |index: usize| ((index * 37) % 19) as f32 / 19.0 - 0.5;
    let a: Vec<f32> = (0..2 * inputs).map(number).collect();
    let b: Vec<f32> = (0..outputs * 2).map(number).collect();
    let matrix = |values, rows, columns| Matrix {
        values: Values::Floats(values),
        rows,
        columns,
    };
    let part = AdapterPart {
        layer: 0,
        module: Module::Query,
        a: matrix(&a, 2, inputs),
        b: matrix(&b, outputs, 2),
        scale: 1.5,
        in_file_order: false,
    };
    AdapterUse {
        adapter: Arc::new(model.adapter(&[part], 7).unwrap().into()),
        scale: 1.0,
    }
}

/// Thoughts that the prompt has begun, and that tokens end which nobody chooses.
fn budget(prompt: &[u32], words: &Vocabulary) -> Option<Box<ThinkingBudget>> {
    let opening = words.bytes(*prompt.last()?)?;
    Some(Box::new(ThinkingBudget {
        tokens: 3,
        opening: String::from_utf8(opening.to_vec()).unwrap(),
        closing: "}".to_owned(),
        closing_tokens: vec![40, 41, 42, 43],
    }))
}

impl Asked {
    fn bounds(&self, has_grammar: bool) -> Bounds {
        let letter = |letter: u8| (letter as char).to_string();
        Bounds {
            stop: self.stop.map(letter).into_iter().collect(),
            stop_tokens: self.stop_token.into_iter().collect(),
            min_tokens: if has_grammar {
                0
            } else {
                self.min_tokens.min(self.max_tokens)
            },
            ignore_end: !has_grammar && self.seed.is_multiple_of(3),
            // A grammar may leave nothing else.
            banned: self
                .banned
                .clone()
                .filter(|_| !has_grammar)
                .into_iter()
                .collect(),
        }
    }

    fn request(
        &self,
        grammars: &[Option<Arc<Grammar>>],
        adapter: &AdapterUse,
        words: &Vocabulary,
    ) -> Request {
        let sampling = SamplingParams {
            temperature: self.temperature,
            top_k: self.filters.0,
            top_p: self.filters.1,
            min_p: self.filters.2,
            repetition_penalty: self.penalties.0,
            presence_penalty: self.penalties.1,
            frequency_penalty: self.penalties.2,
            logprobs: self.logprobs,
            ..with_samplers(self.samplers)
        };
        let grammar = grammars[self.grammar].clone();
        let after = (self.grammar == 1 && self.seed.is_multiple_of(2)).then(|| "e".to_owned());
        let task = GenerateTask {
            sampling: Box::new(sampling),
            seed: self.seed,
            bounds: Box::new(self.bounds(grammar.is_some())),
            thinking: budget(&self.prompt, words).filter(|_| self.thinks),
            grammar: grammar.map(|grammar| (grammar, Start { after })),
            ..greedy(self.max_tokens)
        };
        Request {
            cache_min_tokens: self.is_cached.then_some(1),
            adapters: self
                .is_adapted
                .then(|| adapter.clone())
                .into_iter()
                .collect(),
            ..request(&self.prompt, Task::Generate(task))
        }
    }
}

/// The same load with every kind of guess, in steps that somebody else chose.
fn compare(
    name: &str,
    load: &[Asked],
    kv: KvWanted,
    (blocks, steps): (usize, u64),
) -> std::result::Result<(), TestCaseError> {
    let model = model(name);
    let grammars = grammars(&model);
    let adapter = adapter(&model);
    let words = vocabulary(&model);
    let requests = load
        .iter()
        .map(|one| one.request(&grammars, &adapter, &words));
    let requests: Vec<_> = requests.collect();
    let mut settings = config(&model, blocks);
    settings.kv = kv;
    settings.kv_bytes = model.kv_groups(kv).unwrap().row_bytes() * blocks;
    let alone = answers_alone(&model, settings, &requests);
    let guesses = [
        (Guesses::Lookup, Lengths::Always(8)),
        (Guesses::Lookup, Lengths::AsPays),
        (Guesses::History, Lengths::Always(8)),
        (Guesses::Right, Lengths::Always(8)),
        (Guesses::Right, Lengths::Always(3)),
        (Guesses::Wrong, Lengths::Always(4)),
        (Guesses::Random, Lengths::Always(8)),
        (Guesses::Spoiled, Lengths::AsPays),
        (Guesses::Itself, Lengths::Always(8)),
        (Guesses::Itself, Lengths::AsPays),
        (Guesses::Stranger, Lengths::Always(3)),
    ];
    for (kind, lengths) in guesses {
        let words = Some(vocabulary(&model));
        let mut engine = Engine::new(Arc::clone(&model), words, vec![2], settings).unwrap();
        engine.speculate(speculation(kind, lengths));
        if let Some(draft) = kind.draft_model(name) {
            let draft = self::support::model(draft);
            // Too little for all: texts give way to each other, and some are guessed by nobody.
            let row = draft
                .kv_groups(KvWanted::format(KvFormat::I8))
                .unwrap()
                .row_bytes();
            engine.guess_with(draft, None, blocks * row / 2).unwrap();
        }
        // What was said before is there for those who ask again.
        let rounds = if matches!(kind, Guesses::History) {
            2
        } else {
            1
        };
        for round in 0..rounds {
            let asked = requests.iter().zip(&alone);
            let asked = asked.map(|(request, answer)| answer.asked(kind, request));
            let ids: Vec<_> = asked.map(|request| engine.add(request).unwrap()).collect();
            let answers: BTreeMap<_, _> = run_in_turns(&mut engine, steps);
            for (place, (id, alone)) in ids.iter().zip(&alone).enumerate() {
                let what = format!("{name}, {kind:?}, {lengths:?}: request {place}, {round}");
                prop_assert_eq!(&answers[id], alone, "{}", what);
            }
        }
        let (free, total) = (engine.kv().free_blocks(), engine.kv().total_blocks());
        prop_assert_eq!(free + engine.kv().cached_blocks(), total, "a block leaked");
        prop_assert_eq!(
            (engine.prefix_stats().pinned, engine.swapped_bytes()),
            (0, 0)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_an_engine_that_guesses_nothing(
        model in 0_usize..MODELS.len(),
        load in prop::collection::vec(asked(), 1..6),
        kv in prop_oneof![
            Just(KvWanted::default()),
            Just(KvWanted::format(KvFormat::I16)),
            Just(KvWanted::format(KvFormat::F32)),
            Just(KvWanted::format(KvFormat::I8)),
            Just(KvWanted::format(KvFormat::K8V4)),
            Just(KvWanted { tail_tokens: Some(10), ..KvWanted::format(KvFormat::Q4) }),
            Just(KvWanted { tail_tokens: Some(20), ..KvWanted::format(KvFormat::Q3) }),
        ],
        blocks in prop_oneof![Just(12_usize), Just(40)],
        steps in any::<u64>(),
    ) {
        compare(MODELS[model], &load, kv, (blocks, steps))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_they_are_in_the_company_of_many(
        load in prop::collection::vec(asked(), 16),
        steps in any::<u64>(),
    ) {
        compare(MODELS[0], &load, KvWanted::default(), (90, steps))?;
    }
}

fn repeating(salt: u32) -> Vec<u32> {
    (0..30).map(|index| 3 + (index % 5) * 7 + salt).collect()
}

#[test]
fn right_guesses_are_kept_and_save_steps() {
    for name in MODELS {
        let model = model(name);
        let asked = request(&repeating(1), Task::Generate(greedy(60)));
        let settings = config(&model, 64);
        let alone = answers_alone(&model, settings, std::slice::from_ref(&asked));
        let mut steps = Vec::new();
        for kind in [Guesses::Right, Guesses::Wrong] {
            let mut engine = Engine::new(Arc::clone(&model), None, vec![2], settings).unwrap();
            engine.speculate(speculation(kind, Lengths::Always(5)));
            engine.add(alone[0].foretold(&asked)).unwrap();
            run_in_turns(&mut engine, 0);
            let counts = engine.draft_counts();
            let is_right = matches!(kind, Guesses::Right);
            assert!(counts.drafted > 0, "{name}: nothing was guessed");
            assert_eq!(
                counts.accepted,
                if is_right { counts.drafted } else { 0 },
                "{name}"
            );
            steps.push(engine.steps());
        }
        // One for the prompt; six tokens in each of the others, or one, and another start where frequencies change.
        assert_eq!(steps[1], 60, "{name}");
        assert!(steps[0] <= 1 + 11, "{name}: {} steps", steps[0]);
    }
}

#[test]
fn usage_says_what_was_guessed_and_what_of_it_came_true() {
    let model = model(MODELS[0]);
    let asked = request(&repeating(2), Task::Generate(greedy(31)));
    let settings = config(&model, 64);
    let alone = answers_alone(&model, settings, std::slice::from_ref(&asked));
    let mut engine = Engine::new(Arc::clone(&model), None, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::Spoiled, Lengths::Always(5)));
    let id = engine.add(alone[0].foretold(&asked)).unwrap();
    // Who does not want it has none of it.
    let other = engine.add(asked).unwrap();
    let usages = guessing::usages(&mut engine);
    assert_eq!(usages[&id].drafts, engine.draft_counts());
    assert!(
        usages[&id].drafts.accepted > 0 && usages[&id].drafts.accepted < usages[&id].drafts.drafted
    );
    assert_eq!(usages[&other].drafts.drafted, 0);
    assert_eq!(usages[&other].completion_tokens, 31);
}

#[test]
fn a_guess_that_the_model_has_no_row_for_is_none() {
    let model = model(MODELS[0]);
    let asked = request(&repeating(3), Task::Generate(greedy(20)));
    let settings = config(&model, 64);
    let alone = answers_alone(&model, settings, std::slice::from_ref(&asked));
    let mut foretold = alone[0].foretold(&asked);
    if let Task::Generate(task) = &mut foretold.task
        && let Some(prediction) = &mut task.prediction
    {
        // A tokenizer may have more tokens than the model; here it says one in the middle of the answer.
        let middle = prediction.len() - 10;
        prediction[middle] = model.spec().vocab_size as u32;
    }
    let words = Some(guessing::vocabulary(&model));
    let mut engine = Engine::new(Arc::clone(&model), words, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::Right, Lengths::Always(5)));
    let id = engine.add(foretold).unwrap();
    let answers = run_in_turns(&mut engine, 0);
    assert_eq!(answers[&id], alone[0]);
    assert!(engine.draft_counts().accepted > 10);
}

#[test]
fn no_block_is_kept_for_what_was_refused() {
    let model = model(MODELS[0]);
    for kind in [
        Guesses::Wrong,
        Guesses::Random,
        Guesses::Spoiled,
        Guesses::Right,
    ] {
        let asked = request(&repeating(3), Task::Generate(greedy(300)));
        let settings = config(&model, 64);
        let alone = answers_alone(&model, settings, std::slice::from_ref(&asked));
        let mut engine = Engine::new(Arc::clone(&model), None, vec![2], settings).unwrap();
        engine.speculate(speculation(kind, Lengths::Always(8)));
        let id = engine.add(alone[0].foretold(&asked)).unwrap();
        loop {
            let status = engine.sequences().next();
            let Some(status) = status else { break };
            let blocks = status.computed_tokens.div_ceil(16);
            assert_eq!((status.blocks, engine.kv().held_blocks()), (blocks, blocks));
            assert!(status.computed_tokens < status.total_tokens);
            guessing::step(&mut engine, &[id]);
            engine.check_invariants().unwrap();
        }
        assert_eq!(engine.kv().held_blocks(), 0);
    }
}

#[test]
fn a_guess_gives_way_where_blocks_are_short() {
    let model = model(MODELS[0]);
    // Two blocks for each of two answers, and not one more: guesses fit into what is left of the last one.
    let requests: Vec<_> = (0..2)
        .map(|salt| request(&repeating(salt)[..20], Task::Generate(greedy(12))))
        .collect();
    let settings = config(&model, 4);
    let alone = answers_alone(&model, config(&model, 64), &requests);
    let words = Some(vocabulary(&model));
    let mut engine = Engine::new(Arc::clone(&model), words, vec![2], settings).unwrap();
    engine.speculate(speculation(Guesses::Wrong, Lengths::Always(8)));
    let asked = requests.iter().zip(&alone);
    let ids: Vec<_> = asked
        .map(|(request, answer)| engine.add(answer.foretold(request)).unwrap())
        .collect();
    let mut answers: BTreeMap<_, Answer> = BTreeMap::new();
    while engine.sequences().next().is_some() {
        assert_ne!(
            guessing::step(&mut engine, &ids),
            ruvllm_core::engine::Pause::Blocks
        );
        guessing::collect(&mut engine, &mut answers);
    }
    for (id, alone) in ids.iter().zip(&alone) {
        assert_eq!(&answers[id], alone);
    }
    assert!(engine.draft_counts().drafted > 0);
}
