//! An engine from what computes for it and the memory that it may have.

use std::sync::{Arc, Mutex};

use ruvllm_kernels::{Kernels, ThreadPool};

use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::kv::{KvGroups, KvPool, KvWanted};
use crate::memory::{PagePoolConfig, Watermarks, page_bytes_for};
use crate::model::spec::ModelSpec;
use crate::model::{LoadOptions, Model, ModelHeader, ModelRunner, Runner};
use crate::prefix::PrefixLimits;
use crate::replay::{Recorder, Replayer, Tape};
use crate::sequence::Ground;
use crate::text::Vocabulary;

use super::memory::Memory;
use super::sequences::Sequences;
use super::watch::Watch;
use super::{Controls, Engine};

/// How an engine is set up.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Longest sequence, prompt and answer.
    pub max_context: usize,
    /// Bytes of the key-value pool.
    pub kv_bytes: usize,
    /// How the pool stores numbers.
    pub kv: KvWanted,
    /// What of the pool prefixes that nobody uses may hold.
    pub prefix: PrefixLimits,
    /// When they have to go.
    pub watermarks: Watermarks,
}

impl EngineConfig {
    /// The pool of an engine for such a model, whose blocks are made like this.
    fn pool(&self, spec: &ModelSpec, groups: impl FnOnce() -> Result<KvGroups>) -> Result<KvPool> {
        let limit = spec.max_context;
        if self.max_context == 0 || self.max_context > limit {
            return Err(Error::Config(format!(
                "max_context = {}; this model allows 1 to {limit}",
                self.max_context
            )));
        }
        let pages = PagePoolConfig {
            budget_bytes: self.kv_bytes,
            page_bytes: page_bytes_for(self.kv_bytes),
            watermarks: self.watermarks,
        };
        KvPool::new(groups()?, pages)
    }
}

impl Engine {
    /// An engine without sequences.
    pub fn new(
        model: Arc<Model>,
        vocabulary: Option<Arc<Vocabulary>>,
        end_tokens: Vec<TokenId>,
        config: EngineConfig,
    ) -> Result<Self> {
        let kv = config.pool(model.spec(), || model.kv_groups(config.kv))?;
        let choosing = (model.shared_kernels(), Arc::clone(model.pool()));
        let runner = ModelRunner::new(model, &kv)?;
        let words = (vocabulary, end_tokens);
        Ok(Self::over(Box::new(runner), kv, choosing, words, config))
    }

    /// The same engine, which keeps on a tape what its model says of each text. Whoever takes part leaves the prefix cache
    /// aside, so that all of a text is heard.
    #[must_use]
    pub fn recorded_on(self, tape: Arc<Mutex<Tape>>) -> Self {
        Self {
            runner: Box::new(Recorder::new(self.runner, tape)),
            ..self
        }
    }

    /// An engine that has the tape say what a model of such files said. It needs no weights, and its blocks are as large
    /// as the model's.
    pub fn replaying(
        header: Arc<ModelHeader>,
        tape: Arc<Mutex<Tape>>,
        options: &LoadOptions,
        words: (Option<Arc<Vocabulary>>, Vec<TokenId>),
        config: EngineConfig,
    ) -> Result<Self> {
        let groups = || header.kv_groups(config.kv, options.precision);
        let kv = config.pool(&header.spec, groups)?;
        let choosing = (Arc::clone(&options.kernels), Arc::clone(&options.pool));
        let runner = Replayer::new(header, tape, &kv)?;
        Ok(Self::over(Box::new(runner), kv, choosing, words, config))
    }

    /// The same over whatever computes, with room for the blocks of that pool.
    fn over(
        runner: Box<dyn Runner>,
        kv: KvPool,
        (kernels, threads): (Arc<dyn Kernels>, Arc<ThreadPool>),
        (vocabulary, end_tokens): (Option<Arc<Vocabulary>>, Vec<TokenId>),
        config: EngineConfig,
    ) -> Self {
        Self {
            runner,
            threads,
            memory: Memory::new(kv, config.prefix),
            sequences: Sequences::default(),
            controls: Controls::default(),
            ground: Ground {
                vocabulary,
                end_tokens: end_tokens.into(),
                kernels,
                max_context: config.max_context,
            },
            drafts: None,
            watch: Watch::default(),
        }
    }
}
