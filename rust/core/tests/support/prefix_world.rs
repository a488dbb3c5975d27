//! Sequences over the prefix cache and its pool, and what must be true of both after each thing that they do.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::kv::{
    BLOCK_TOKENS, BlockRef, BlockStore, HostBlocks, KvGroups, KvPool, KvScheme, rows_for,
};
use ruvllm_core::memory::{PagePoolConfig, Watermarks};
use ruvllm_core::prefix::radix_tree::NodeId;
use ruvllm_core::prefix::{Known, Namespace, PrefixCache, PrefixLimits};
use ruvllm_kernels::KvFormat;

pub const BLOCKS: usize = 24;
pub const MAX_CACHED: usize = 15;
pub const TENANTS: u8 = 3;

#[derive(Debug, Clone)]
pub enum Operation {
    /// Begin a sequence: a namespace, and tokens of a small alphabet so that many begin alike.
    Begin(u8, Vec<TokenId>),
    /// Begin like the beginning of a text that was kept, and go on otherwise.
    Again(usize, usize, Vec<TokenId>),
    /// Compute so many tokens more of a running one.
    Extend(usize, Vec<TokenId>),
    /// Make what it has computed known, and go on.
    Keep(usize),
    /// Make a part of it known, that ends there or goes on.
    KeepPart(usize, usize, bool),
    /// The same with all, and end.
    End(usize),
    /// Let what its windows have passed go, after making it known or not.
    Pass(usize, bool),
    Evict,
    Clear,
}

pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let tokens = |longest| prop::collection::vec(0..2_u32, 1..longest);
    let operation = prop_oneof![
        4 => (0..2 * TENANTS, tokens(90)).prop_map(|(space, tokens)| Operation::Begin(space, tokens)),
        4 => (any::<usize>(), any::<usize>(), tokens(30))
            .prop_map(|(text, at, rest)| Operation::Again(text, at, rest)),
        2 => (0..4_usize, tokens(20)).prop_map(|(one, tokens)| Operation::Extend(one, tokens)),
        2 => (0..4_usize).prop_map(Operation::Keep),
        2 => (0..4_usize, any::<usize>(), any::<bool>())
            .prop_map(|(one, at, is_end)| Operation::KeepPart(one, at, is_end)),
        4 => (0..4_usize).prop_map(Operation::End),
        3 => (0..4_usize, any::<bool>()).prop_map(|(one, keeps)| Operation::Pass(one, keeps)),
        1 => Just(Operation::Evict),
        1 => Just(Operation::Clear),
    ];
    prop::collection::vec(operation, 1..60)
}

/// A sequence that runs: what it has computed stands in its blocks.
pub struct Running {
    pub namespace: Namespace,
    pub tokens: Vec<TokenId>,
    /// Row by row, a block of each group.
    pub blocks: Vec<Option<BlockRef>>,
    pub pin: Option<NodeId>,
}

pub struct World {
    pub pool: KvPool,
    pub bytes: HostBlocks,
    pub cache: PrefixCache,
    pub running: Vec<Running>,
    pub limits: PrefixLimits,
    /// All that was ever made known.
    pub kept: BTreeSet<(Namespace, Vec<TokenId>)>,
}

/// Two of each tenant's.
pub fn namespace(space: u8) -> Namespace {
    Namespace {
        tenant: tenant(space / 2),
        adapter: u64::from(space % 2),
        ..Namespace::default()
    }
}

/// One tenant's name is the beginning of another one's.
pub fn tenant(number: u8) -> String {
    "tenant".chars().chain((0..number).map(|_| 'x')).collect()
}

/// What a model would have written for a position: it depends on all tokens up to it.
pub fn content(namespace: &Namespace, tokens: &[TokenId]) -> u8 {
    let mut hasher = DefaultHasher::new();
    (namespace, tokens).hash(&mut hasher);
    hasher.finish() as u8
}

impl World {
    pub fn new(is_short_of_entries: bool) -> Self {
        let scheme = KvScheme::plain(KvFormat::I16);
        Self::of(&[None], scheme, is_short_of_entries)
    }

    /// Layers that see so much each.
    pub fn of(windows: &[Option<usize>], scheme: KvScheme, is_short_of_entries: bool) -> Self {
        let groups = KvGroups::of(windows, (1, 4), scheme);
        let limits = PrefixLimits {
            max_bytes: MAX_CACHED * groups.row_bytes(),
            max_entries: if is_short_of_entries { 12 } else { usize::MAX },
        };
        let config = PagePoolConfig {
            budget_bytes: BLOCKS * groups.row_bytes(),
            page_bytes: 5 * groups.block_bytes() / 2,
            watermarks: Watermarks::default(),
        };
        let pool = KvPool::new(groups, config).unwrap();
        Self {
            cache: PrefixCache::new(limits, Arc::clone(pool.groups())),
            bytes: HostBlocks::of(&pool).unwrap(),
            pool,
            limits,
            running: Vec::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Blocks that are cached for each tenant, and tokens of theirs that would be found.
    pub fn holdings(&self) -> Vec<(usize, usize)> {
        let known = |name: &str| {
            let theirs = self.kept.iter().filter(|(space, _)| space.tenant == name);
            theirs
                .map(|(space, tokens)| self.cache.peek(space, tokens))
                .sum()
        };
        (0..TENANTS)
            .map(tenant)
            .map(|name| (self.cache.blocks_of(&name), known(&name)))
            .collect()
    }

    /// Evicts one: of nobody who holds less than another tenant for whom nothing is pinned.
    pub fn evict(&mut self, computing: Option<&Running>) -> bool {
        let before = self.holdings();
        let is_evicted = self.cache.evict_one();
        let after = self.holdings();
        let pinning = |name: &str| {
            let mut theirs = self.running.iter().chain(computing);
            theirs.any(|one| one.pin.is_some() && one.namespace.tenant == name)
        };
        for (loser, (held, known)) in before.iter().enumerate() {
            if after[loser].1 == *known {
                continue;
            }
            for (number, (other, _)) in before.iter().enumerate() {
                assert!(
                    held >= other || pinning(&tenant(number as u8)),
                    "{before:?}"
                );
            }
        }
        is_evicted
    }

    pub fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Begin(space, tokens) => self.begin(&namespace(space), &tokens),
            Operation::Again(text, at, rest) => {
                let known = self.kept.iter().nth(text % self.kept.len().max(1));
                if let Some((namespace, tokens)) = known.cloned() {
                    let mut tokens = tokens[..=at % tokens.len()].to_vec();
                    tokens.extend(rest);
                    tokens.truncate(120);
                    self.begin(&namespace, &tokens);
                }
            }
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
            Operation::KeepPart(index, at, is_end) => {
                if let Some(mut one) = self.take(index) {
                    self.keep_part(&mut one, at, is_end);
                    self.running.push(one);
                }
            }
            Operation::End(index) => {
                if let Some(mut one) = self.take(index) {
                    self.keep(&mut one);
                    one.pin.inspect(|pin| self.cache.unpin(*pin));
                }
            }
            Operation::Pass(index, keeps) => {
                if let Some(mut one) = self.take(index) {
                    if keeps {
                        self.keep(&mut one);
                    }
                    self.pass(&mut one);
                    self.running.push(one);
                }
            }
            Operation::Evict => {
                let (entries, _) = self.sizes();
                let free = self.pool.free_blocks();
                let is_evicted = self.evict(None);
                let left = self.sizes().0;
                // An entry goes, or blocks that no text needs to be gone on with.
                let is_shed = left == entries && self.pool.free_blocks() > free;
                assert!(left == entries - usize::from(is_evicted) || is_shed);
            }
            Operation::Clear => self.cache.clear(),
        }
        self.pool.trim(&mut self.bytes);
    }

    pub fn take(&mut self, index: usize) -> Option<Running> {
        (!self.running.is_empty()).then(|| self.running.remove(index % self.running.len()))
    }

    pub fn begin(&mut self, namespace: &Namespace, tokens: &[TokenId]) {
        if self.running.len() >= 4 {
            return;
        }
        let known = self.cache.peek(namespace, tokens);
        let found = self.cache.lookup(namespace, tokens, tokens.len() - 1);
        if self.pool.groups().has_windows() {
            // A shorter one may need what a longer one does not.
            assert!(found.length <= known.min(tokens.len() - 1));
        } else {
            assert_eq!(found.length, known.min(tokens.len() - 1));
        }
        assert_eq!(found.miss.is_some(), found.length == 0);
        let mut one = Running {
            namespace: namespace.clone(),
            tokens: tokens[..found.length].to_vec(),
            blocks: found.blocks,
            pin: found.pin,
        };
        self.pass(&mut one);
        self.check_content(&one);
        let width = self.pool.groups().count();
        if !found.length.is_multiple_of(BLOCK_TOKENS) {
            let row = found.length / BLOCK_TOKENS;
            let shared = one.blocks.split_off(row * width);
            let own: Result<Vec<_>, _> = shared.iter().map(|_| self.pool.take(None)).collect();
            if let Ok(own) = own {
                for (shared, own) in shared.iter().zip(own) {
                    let shared = shared.as_ref().unwrap();
                    self.bytes.copy(shared.id(), own.id());
                    one.blocks.push(Some(own));
                }
            } else {
                // Without room for a copy this one begins anew.
                one.tokens.clear();
                one.blocks.clear();
            }
        }
        let rest = tokens[one.tokens.len()..].to_vec();
        self.compute(&mut one, &rest);
        self.running.push(one);
    }

    /// As far as there are blocks, which are evicted for it.
    pub fn compute(&mut self, one: &mut Running, tokens: &[TokenId]) {
        let width = self.pool.groups().count();
        for token in tokens {
            let position = one.tokens.len();
            while one.blocks.len() < rows_for(position + 1) * width {
                let block = loop {
                    match self.pool.take(None) {
                        Ok(block) => break Some(block),
                        Err(_) if self.evict(Some(one)) => {}
                        Err(_) => break None,
                    }
                };
                if block.is_none() {
                    let whole = one.blocks.len() / width * width;
                    one.blocks.truncate(whole);
                    return;
                }
                one.blocks.push(block);
            }
            one.tokens.push(*token);
            let value = content(&one.namespace, &one.tokens);
            for block in &one.blocks[position / BLOCK_TOKENS * width..] {
                let block = self.bytes.bytes_mut(block.as_ref().unwrap().id());
                block[position % BLOCK_TOKENS] = value;
            }
        }
    }

    /// Lets go what no window of a sequence reaches any more.
    pub fn pass(&self, one: &mut Running) {
        let groups = self.pool.groups();
        for (index, block) in one.blocks.iter_mut().enumerate() {
            let (row, group) = (index / groups.count(), index % groups.count());
            if row < groups.first_row(group, one.tokens.len()) {
                *block = None;
            }
        }
    }

    /// Makes the beginning of a text known, by the table of all of it.
    pub fn keep_part(&mut self, one: &mut Running, at: usize, is_end: bool) {
        let tokens = one.tokens[..at % (one.tokens.len() + 1)].to_vec();
        let known = Known {
            tokens: &tokens,
            blocks: &one.blocks,
            is_end,
        };
        let pin = self.cache.insert(&one.namespace, known, &self.pool);
        if let Some(pin) = pin {
            self.cache.unpin(pin);
            self.kept.insert((one.namespace.clone(), tokens));
        }
    }

    pub fn keep(&mut self, one: &mut Running) {
        let before = self.holdings();
        let known = self.cache.peek(&one.namespace, &one.tokens) / BLOCK_TOKENS;
        let fresh = one.blocks.iter().skip(known * self.pool.groups().count());
        let fresh = fresh.flatten().filter(|block| !block.is_cached()).count();
        let pin = self.insert(&one.namespace, &one.tokens, &one.blocks);
        let left = self.cache.blocks_of(&one.namespace.tenant);
        self.check_losses(&before, left - pin.map_or(0, |_| fresh.min(left)));
        if pin.is_some() {
            self.kept
                .insert((one.namespace.clone(), one.tokens.clone()));
            let length = self.cache.peek(&one.namespace, &one.tokens);
            // What is known already and was shed may find no room again.
            assert!(length == one.tokens.len() || self.pool.groups().has_windows());
            one.pin.inspect(|pin| self.cache.unpin(*pin));
            one.pin = pin;
        }
    }

    /// What is kept of a tenant costs nobody anything who held less than it has left of what it had.
    pub fn check_losses(&self, before: &[(usize, usize)], left: usize) {
        if self.limits.max_entries < usize::MAX {
            return;
        }
        for ((held, known), (_, known_now)) in before.iter().zip(self.holdings()) {
            assert!(known_now >= *known || *held >= left, "{before:?}");
        }
    }

    pub fn check_content(&self, one: &Running) {
        let groups = self.pool.groups();
        for group in 0..groups.count() {
            let first = groups.first_row(group, one.tokens.len());
            for position in first * BLOCK_TOKENS..one.tokens.len() {
                let block = &one.blocks[position / BLOCK_TOKENS * groups.count() + group];
                let block = block.as_ref().expect("a window reaches it");
                let found = self.bytes.bytes(block.id())[position % BLOCK_TOKENS];
                let expected = content(&one.namespace, &one.tokens[..=position]);
                assert_eq!(found, expected, "position {position} of {:?}", one.tokens);
            }
        }
    }

    pub fn insert(
        &mut self,
        namespace: &Namespace,
        tokens: &[TokenId],
        blocks: &[Option<BlockRef>],
    ) -> Option<NodeId> {
        let known = Known {
            tokens,
            blocks,
            is_end: true,
        };
        self.cache.insert(namespace, known, &self.pool)
    }

    pub fn sizes(&self) -> (usize, usize) {
        let stats = self.cache.stats(&self.pool);
        (stats.nodes, stats.pinned)
    }

    pub fn check(&self) {
        self.cache.check_invariants(&self.pool).unwrap();
        let held: BTreeSet<_> = self
            .running
            .iter()
            .flat_map(|one| one.blocks.iter().flatten().map(|block| block.id()))
            .collect();
        let cached = self.pool.cached_blocks();
        // The ledger counts blocks, the tree what tenants hold; both are to come to the same.
        let by_tenant: usize = self.holdings().iter().map(|(blocks, _)| blocks).sum();
        assert_eq!(cached, by_tenant, "{:?}", self.holdings());
        let used = self.pool.total_blocks() - self.pool.free_blocks();
        assert!(used >= held.len().max(cached) && used <= held.len() + cached);
        assert_eq!(
            self.sizes().1,
            self.running.iter().filter(|one| one.pin.is_some()).count()
        );
        self.running.iter().for_each(|one| self.check_content(one));
    }
}
