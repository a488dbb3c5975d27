//! Random lives of sequences over the prefix cache and its pool, beside what must be true of both.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::kv::{BLOCK_TOKENS, BlockRef, KvPool, blocks_for};
use ruvllm_core::memory::{PagePoolConfig, Watermarks};
use ruvllm_core::prefix::radix_tree::NodeId;
use ruvllm_core::prefix::{Namespace, PrefixCache, PrefixLimits};
use ruvllm_kernels::{KvFormat, KvLayout};

const BLOCKS: usize = 24;
const MAX_CACHED: usize = 15;
const LAYOUT: KvLayout = KvLayout {
    layers: 1,
    kv_heads: 1,
    head_dim: 4,
    format: KvFormat::F16,
};

#[derive(Debug, Clone)]
enum Operation {
    /// Begin a sequence: a namespace, and tokens of a small alphabet so that many begin alike.
    Begin(u8, Vec<TokenId>),
    /// Compute so many tokens more of a running one.
    Extend(usize, Vec<TokenId>),
    /// Make what it has computed known, and go on.
    Keep(usize),
    /// The same, and end.
    End(usize),
    Evict,
    Clear,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let tokens = |longest| prop::collection::vec(0..2_u32, 1..longest);
    let operation = prop_oneof![
        4 => (0..2_u8, tokens(90)).prop_map(|(space, tokens)| Operation::Begin(space, tokens)),
        2 => (0..4_usize, tokens(20)).prop_map(|(one, tokens)| Operation::Extend(one, tokens)),
        2 => (0..4_usize).prop_map(Operation::Keep),
        4 => (0..4_usize).prop_map(Operation::End),
        1 => Just(Operation::Evict),
        1 => Just(Operation::Clear),
    ];
    prop::collection::vec(operation, 1..60)
}

/// A sequence that runs: what it has computed stands in its blocks.
struct Running {
    namespace: Namespace,
    tokens: Vec<TokenId>,
    blocks: Vec<BlockRef>,
    pin: Option<NodeId>,
}

struct World {
    pool: KvPool,
    cache: PrefixCache,
    running: Vec<Running>,
}

/// What a model would have written for a position: it depends on all tokens up to it.
fn content(namespace: &Namespace, tokens: &[TokenId]) -> u8 {
    let mut hasher = DefaultHasher::new();
    (namespace, tokens).hash(&mut hasher);
    hasher.finish() as u8
}

impl World {
    fn new() -> Self {
        let config = PagePoolConfig {
            budget_bytes: BLOCKS * LAYOUT.block_bytes(),
            page_bytes: 5 * LAYOUT.block_bytes() / 2,
            watermarks: Watermarks::default(),
        };
        let limits = PrefixLimits {
            max_bytes: MAX_CACHED * LAYOUT.block_bytes(),
            max_entries: 12,
        };
        Self {
            pool: KvPool::new(LAYOUT, config).unwrap(),
            cache: PrefixCache::new(limits),
            running: Vec::new(),
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Begin(space, tokens) => self.begin(space, &tokens),
            Operation::Extend(index, tokens) => {
                if let Some(mut one) = self.take(index) {
                    self.compute(&mut one, &tokens);
                    self.running.push(one);
                }
            }
            Operation::Keep(index) => {
                if let Some(mut one) = self.take(index) {
                    self.keep(&mut one);
                    self.running.push(one);
                }
            }
            Operation::End(index) => {
                if let Some(mut one) = self.take(index) {
                    self.keep(&mut one);
                    one.pin.inspect(|pin| self.cache.unpin(*pin));
                }
            }
            Operation::Evict => {
                let (entries, _) = self.sizes();
                let is_evicted = self.cache.evict_one();
                assert_eq!(self.sizes().0, entries - usize::from(is_evicted));
            }
            Operation::Clear => self.cache.clear(),
        }
        self.pool.trim();
    }

    fn take(&mut self, index: usize) -> Option<Running> {
        (!self.running.is_empty()).then(|| self.running.remove(index % self.running.len()))
    }

    fn begin(&mut self, space: u8, tokens: &[TokenId]) {
        let namespace = Namespace {
            tenant: format!("tenant-{space}"),
            ..Namespace::default()
        };
        if self.running.len() >= 4 {
            return;
        }
        let known = self.cache.peek(&namespace, tokens);
        let found = self.cache.lookup(&namespace, tokens, tokens.len() - 1);
        assert_eq!(found.length, known.min(tokens.len() - 1));
        assert_eq!(found.miss.is_some(), found.length == 0);
        let mut one = Running {
            namespace,
            tokens: tokens[..found.length].to_vec(),
            blocks: found.blocks,
            pin: found.pin,
        };
        self.check_content(&one);
        if !found.length.is_multiple_of(BLOCK_TOKENS) {
            let shared = one.blocks.pop().unwrap();
            match self.pool.take(None) {
                Ok(own) => {
                    self.pool.copy(&shared, &own);
                    one.blocks.push(own);
                }
                Err(_) => one.tokens.truncate(one.blocks.len() * BLOCK_TOKENS),
            }
        }
        let rest = tokens[one.tokens.len()..].to_vec();
        self.compute(&mut one, &rest);
        self.running.push(one);
    }

    /// As far as there are blocks, which are evicted for it.
    fn compute(&mut self, one: &mut Running, tokens: &[TokenId]) {
        for token in tokens {
            let position = one.tokens.len();
            if blocks_for(position + 1) > one.blocks.len() {
                let block = loop {
                    match self.pool.take(None) {
                        Ok(block) => break Some(block),
                        Err(_) if self.cache.evict_one() => {}
                        Err(_) => break None,
                    }
                };
                let Some(block) = block else { return };
                one.blocks.push(block);
            }
            one.tokens.push(*token);
            let value = content(&one.namespace, &one.tokens);
            let block = one.blocks.last().unwrap();
            self.pool.bytes_mut(block)[position % BLOCK_TOKENS] = value;
        }
    }

    fn keep(&mut self, one: &mut Running) {
        let pin = self
            .cache
            .insert(&one.namespace, &one.tokens, &one.blocks, &self.pool);
        if pin.is_some() {
            assert_eq!(
                self.cache.peek(&one.namespace, &one.tokens),
                one.tokens.len()
            );
            one.pin.inspect(|pin| self.cache.unpin(*pin));
            one.pin = pin;
        }
    }

    fn check_content(&self, one: &Running) {
        for position in 0..one.tokens.len() {
            let block = &one.blocks[position / BLOCK_TOKENS];
            let found = self.pool.bytes(block)[position % BLOCK_TOKENS];
            let expected = content(&one.namespace, &one.tokens[..=position]);
            assert_eq!(found, expected, "position {position} of {:?}", one.tokens);
        }
    }

    fn sizes(&self) -> (usize, usize) {
        let stats = self.cache.stats(&self.pool);
        (stats.nodes, stats.pinned)
    }

    fn check(&self) {
        self.cache.check_invariants(&self.pool).unwrap();
        let held: BTreeSet<_> = self
            .running
            .iter()
            .flat_map(|one| one.blocks.iter().map(|block| block.id()))
            .collect();
        let cached = self.pool.cached_blocks();
        let used = BLOCKS - self.pool.free_blocks();
        assert!(used >= held.len().max(cached) && used <= held.len() + cached);
        assert_eq!(
            self.sizes().1,
            self.running.iter().filter(|one| one.pin.is_some()).count()
        );
        self.running.iter().for_each(|one| self.check_content(one));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cache_and_pool_agree_with_what_the_sequences_computed(operations in operations()) {
        let mut world = World::new();
        for operation in operations {
            world.apply(operation);
            world.check();
        }
        while let Some(one) = world.take(0) {
            one.pin.inspect(|pin| world.cache.unpin(*pin));
        }
        world.cache.clear();
        world.pool.trim();
        prop_assert_eq!(world.pool.free_blocks(), BLOCKS);
        prop_assert_eq!(world.pool.pages().stats().used_pages, [0, 0, 0]);
        prop_assert_eq!(world.sizes(), (0, 0));
    }
}
