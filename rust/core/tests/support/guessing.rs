//! Proposers that know an answer beforehand, and engines that are run step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ruvllm_core::clock::{Clock, SteppedClock};
use ruvllm_core::engine::{Engine, EngineConfig, Pause, Plan, PlanRow};
use ruvllm_core::events::{Event, FinishReason, StoppedAt, Usage};
use ruvllm_core::ids::{SequenceId, TokenId};
use ruvllm_core::model::Model;
use ruvllm_core::sampling::TokenLogprobs;
use ruvllm_core::sequence::{Request, Task};
use ruvllm_core::speculation::{
    Lengths, Lookups, Owner, Proposer, Proposers, Speculation, Support,
};
use ruvllm_core::text::Vocabulary;

/// Who guesses. All but history are given the answer as their prediction.
#[derive(Debug, Clone, Copy)]
pub enum Guesses {
    Lookup,
    /// Of what was said before, and no prediction.
    History,
    Right,
    Wrong,
    Random,
    /// Right but for every third token.
    Spoiled,
    /// A draft model that is the model itself; no prediction.
    Itself,
    /// A draft model that thinks otherwise.
    Stranger,
}

impl Guesses {
    /// Which model guesses for one of that name.
    pub fn draft_model(self, name: &str) -> Option<&str> {
        match self {
            Self::Itself => Some(name),
            Self::Stranger => Some("models/mistral-window"),
            _ => None,
        }
    }
}

pub fn speculation(kind: Guesses, lengths: Lengths) -> Speculation {
    let proposers: Arc<dyn Proposers> = match kind {
        Guesses::Lookup | Guesses::History | Guesses::Itself | Guesses::Stranger => {
            Arc::new(Lookups::default())
        }
        _ => Arc::new(Scripts(kind)),
    };
    let clock: Arc<dyn Clock> = match kind {
        Guesses::Itself | Guesses::Stranger => Arc::new(Restless::default()),
        _ => Arc::new(SteppedClock::default()),
    };
    Speculation {
        proposers,
        lengths,
        clock,
    }
}

/// The clock of a machine that others use: a step may seem to take a thousand times as long as the one before it, so that
/// guesses pay and do not by turns.
#[derive(Debug, Default)]
struct Restless {
    state: AtomicU64,
    now: AtomicU64,
}

impl Clock for Restless {
    fn nanoseconds(&self) -> u64 {
        let next = |state: u64| {
            Some(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            )
        };
        let state = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .unwrap_or_default();
        let steps = 1 + (1 << ((state >> 33) % 11)) * 1000;
        self.now.fetch_add(steps, Ordering::Relaxed) + steps
    }
}

#[derive(Debug)]
struct Scripts(Guesses);

impl Proposers for Scripts {
    fn begin(&self, _: Option<&Owner>, prediction: &[TokenId]) -> Box<dyn Proposer> {
        Box::new(Script {
            kind: self.0,
            text: prediction.to_vec(),
            place: 0,
        })
    }
}

/// The whole text, prompt and answer.
#[derive(Debug)]
struct Script {
    kind: Guesses,
    text: Vec<TokenId>,
    place: usize,
}

impl Proposer for Script {
    fn observe(&mut self, _: TokenId) {
        self.place += 1;
    }

    fn propose(&self, most: usize, draft: &mut Vec<TokenId>) -> Option<Support> {
        for place in self.place..self.text.len().min(self.place + most) {
            let token = self.text[place];
            draft.push(match self.kind {
                Guesses::Wrong => 3 + (token + 1) % 200,
                Guesses::Random => 3 + (place * 7919 + self.place * 104_729) as u32 % 200,
                Guesses::Spoiled if place % 3 == 0 => 3 + (token + 1) % 200,
                _ => token,
            });
        }
        Support::in_text(20).filter(|_| !draft.is_empty())
    }
}

/// Two or three letters each, so that texts may stop within a token.
pub fn vocabulary(model: &Model) -> Arc<Vocabulary> {
    let letter = |number: usize| (b'a' + (number % 26) as u8) as char;
    let texts: Vec<String> = (0..model.spec().vocab_size)
        .map(|token| match token {
            0..3 => String::new(),
            3..29 => letter(token - 3).to_string(),
            _ => [letter(token), letter(token / 26), letter(token / 7)]
                .iter()
                .collect(),
        })
        .collect();
    Arc::new(Vocabulary::from_tokens(&texts, vec![0, 1, 2]).unwrap())
}

/// All that somebody sees of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub tokens: Vec<TokenId>,
    pub text: String,
    pub logprobs: Vec<Option<Measured>>,
    pub reason: Option<&'static str>,
    pub stopped_at: Option<StoppedAt>,
    pub completion_tokens: usize,
    pub error: Option<String>,
}

/// Log-probabilities to the bit.
type Measured = (u32, Vec<(TokenId, u32)>);

impl Answer {
    /// The request as `kind` is asked it.
    pub fn asked(&self, kind: Guesses, request: &Request) -> Request {
        let mut foretold = self.foretold(request);
        let is_told = !matches!(kind, Guesses::History | Guesses::Itself | Guesses::Stranger);
        if !is_told && let Task::Generate(task) = &mut foretold.task {
            task.prediction = Some(Vec::new());
        }
        foretold
    }

    /// The request with this answer as what will come.
    pub fn foretold(&self, request: &Request) -> Request {
        let mut request = request.clone();
        if let Task::Generate(task) = &mut request.task {
            task.prediction = Some([&request.tokens[..], &self.tokens].concat());
        }
        request
    }
}

fn bits(all: TokenLogprobs) -> Measured {
    let top = all
        .top
        .into_iter()
        .map(|(token, logprob)| (token, logprob.to_bits()));
    (all.logprob.to_bits(), top.collect())
}

pub fn collect(engine: &mut Engine, answers: &mut BTreeMap<SequenceId, Answer>) {
    for event in engine.controls().events().take() {
        match event {
            Event::Token {
                sequence,
                token,
                text,
                logprobs,
            } => {
                let answer = answers.entry(sequence).or_default();
                answer.tokens.push(token);
                answer.text += &text;
                answer.logprobs.push(logprobs.map(bits));
            }
            Event::Finished {
                sequence,
                reason,
                stopped_at,
                text,
                usage,
            } => {
                let answer = answers.entry(sequence).or_default();
                answer.text += &text;
                answer.reason = Some(FinishReason::name(reason));
                answer.stopped_at = stopped_at;
                answer.completion_tokens = usage.completion_tokens;
            }
            Event::Failed { sequence, error } => {
                answers.entry(sequence).or_default().error = Some(error.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What engines of their own give that guess nothing and keep nothing.
pub fn answers_alone(
    model: &Arc<Model>,
    config: EngineConfig,
    requests: &[Request],
) -> Vec<Answer> {
    let answer_of = |request: &Request| {
        let words = Some(vocabulary(model));
        let mut engine = Engine::new(Arc::clone(model), words, vec![2], config).unwrap();
        let mut request = request.clone();
        request.cache_min_tokens = None;
        let id = engine.add(request).unwrap();
        let mut answers = BTreeMap::new();
        while engine.sequences().next().is_some() {
            step(&mut engine, &[id]);
        }
        collect(&mut engine, &mut answers);
        answers.remove(&id).unwrap()
    };
    requests.iter().map(answer_of).collect()
}

pub fn step(engine: &mut Engine, ids: &[SequenceId]) -> Pause {
    let rows = ids.iter().map(|id| PlanRow {
        sequence: *id,
        prefill_tokens: 512,
    });
    let rows = rows.collect();
    engine.advance(&Plan { rows, max_steps: 1 }).unwrap()
}

pub fn usages(engine: &mut Engine) -> BTreeMap<SequenceId, Usage> {
    let mut usages = BTreeMap::new();
    while engine.sequences().next().is_some() {
        let ids: Vec<_> = engine.sequences().map(|status| status.sequence).collect();
        step(engine, &ids);
        for event in engine.controls().events().take() {
            if let Event::Finished {
                sequence, usage, ..
            } = event
            {
                usages.insert(sequence, usage);
            }
        }
    }
    usages
}

/// Runs everything to its end, in parts of plans, with some set aside on the way: the same for the same `seed`,
/// all at once for 0.
pub fn run_in_turns(engine: &mut Engine, seed: u64) -> BTreeMap<SequenceId, Answer> {
    let mut state = seed;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(seed);
        (state >> 33) as usize % below
    };
    let mut answers = BTreeMap::new();
    let mut aside: Option<SequenceId> = None;
    while engine.sequences().next().is_some() {
        let ids: Vec<_> = engine.sequences().map(|status| status.sequence).collect();
        if seed != 0 && random(6) == 0 {
            engine
                .preempt(ids[random(ids.len())], random(2) == 0)
                .unwrap();
        }
        let planned = ids
            .iter()
            .filter(|id| Some(**id) != aside || ids.len() == 1);
        let planned: Vec<_> = planned.filter(|_| seed == 0 || random(5) > 0).collect();
        let rows: Vec<_> = planned
            .into_iter()
            .map(|id| PlanRow {
                sequence: *id,
                prefill_tokens: if seed == 0 { 512 } else { 1 + random(20) },
            })
            .collect();
        let max_steps = 1 + random(3);
        aside = None;
        if engine.advance(&Plan { rows, max_steps }).unwrap() == Pause::Blocks {
            // Whoever holds blocks and came last lets the others go first.
            let mut statuses: Vec<_> = engine.sequences().collect();
            statuses.retain(|status| status.blocks > 0);
            if let Some(last) = statuses.last() {
                aside = Some(last.sequence);
                engine.preempt(last.sequence, random(2) == 0).unwrap();
            }
        }
        engine.check_invariants().unwrap();
        collect(engine, &mut answers);
    }
    answers
}
