//! Random lives of sequences over the prefix cache and its pool, beside what must be true of both.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use proptest::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::kv::{BLOCK_TOKENS, BlockRef, KvGroups, KvPool, rows_for};
use ruvllm_core::memory::{PagePoolConfig, Watermarks};
use ruvllm_core::prefix::radix_tree::{COUNTED_HITS, EdgeValue, HIT_TICKS, NodeId, RadixTree};
use ruvllm_core::prefix::{Known, Namespace, PrefixCache, PrefixLimits};
use ruvllm_kernels::{KvFormat, KvLayout};

const BLOCKS: usize = 24;
const MAX_CACHED: usize = 15;
const TENANTS: u8 = 3;
const LAYOUT: KvLayout = KvLayout {
    layers: 1,
    kv_heads: 1,
    head_dim: 4,
    format: KvFormat::I16,
};

#[derive(Debug, Clone)]
enum Operation {
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

fn operations() -> impl Strategy<Value = Vec<Operation>> {
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
struct Running {
    namespace: Namespace,
    tokens: Vec<TokenId>,
    /// Row by row, a block of each group.
    blocks: Vec<Option<BlockRef>>,
    pin: Option<NodeId>,
}

struct World {
    pool: KvPool,
    cache: PrefixCache,
    running: Vec<Running>,
    limits: PrefixLimits,
    /// All that was ever made known.
    kept: BTreeSet<(Namespace, Vec<TokenId>)>,
}

/// Two of each tenant's.
fn namespace(space: u8) -> Namespace {
    Namespace {
        tenant: tenant(space / 2),
        adapter: u64::from(space % 2),
        ..Namespace::default()
    }
}

/// One tenant's name is the beginning of another one's.
fn tenant(number: u8) -> String {
    "tenant".chars().chain((0..number).map(|_| 'x')).collect()
}

/// What a model would have written for a position: it depends on all tokens up to it.
fn content(namespace: &Namespace, tokens: &[TokenId]) -> u8 {
    let mut hasher = DefaultHasher::new();
    (namespace, tokens).hash(&mut hasher);
    hasher.finish() as u8
}

impl World {
    fn new(is_short_of_entries: bool) -> Self {
        Self::of(KvGroups::whole(1), is_short_of_entries)
    }

    fn of(groups: KvGroups, is_short_of_entries: bool) -> Self {
        let limits = PrefixLimits {
            max_bytes: MAX_CACHED * groups.count() * LAYOUT.block_bytes(),
            max_entries: if is_short_of_entries { 12 } else { usize::MAX },
        };
        let config = PagePoolConfig {
            budget_bytes: BLOCKS * groups.count() * LAYOUT.block_bytes(),
            page_bytes: 5 * LAYOUT.block_bytes() / 2,
            watermarks: Watermarks::default(),
        };
        let pool = KvPool::new(LAYOUT, groups, config).unwrap();
        Self {
            cache: PrefixCache::new(limits, Arc::clone(pool.groups())),
            pool,
            limits,
            running: Vec::new(),
            kept: BTreeSet::new(),
        }
    }

    /// Blocks that are cached for each tenant, and tokens of theirs that would be found.
    fn holdings(&self) -> Vec<(usize, usize)> {
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
    fn evict(&mut self, computing: Option<&Running>) -> bool {
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

    fn apply(&mut self, operation: Operation) {
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
        self.pool.trim();
    }

    fn take(&mut self, index: usize) -> Option<Running> {
        (!self.running.is_empty()).then(|| self.running.remove(index % self.running.len()))
    }

    fn begin(&mut self, namespace: &Namespace, tokens: &[TokenId]) {
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
                    self.pool.copy(shared.as_ref().unwrap(), &own);
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
    fn compute(&mut self, one: &mut Running, tokens: &[TokenId]) {
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
                self.pool.bytes_mut(block.as_ref().unwrap())[position % BLOCK_TOKENS] = value;
            }
        }
    }

    /// Lets go what no window of a sequence reaches any more.
    fn pass(&self, one: &mut Running) {
        let groups = self.pool.groups();
        for (index, block) in one.blocks.iter_mut().enumerate() {
            let (row, group) = (index / groups.count(), index % groups.count());
            if row < groups.first_row(group, one.tokens.len()) {
                *block = None;
            }
        }
    }

    /// Makes the beginning of a text known, by the table of all of it.
    fn keep_part(&mut self, one: &mut Running, at: usize, is_end: bool) {
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

    fn keep(&mut self, one: &mut Running) {
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
    fn check_losses(&self, before: &[(usize, usize)], left: usize) {
        if self.limits.max_entries < usize::MAX {
            return;
        }
        for ((held, known), (_, known_now)) in before.iter().zip(self.holdings()) {
            assert!(known_now >= *known || *held >= left, "{before:?}");
        }
    }

    fn check_content(&self, one: &Running) {
        let groups = self.pool.groups();
        for group in 0..groups.count() {
            let first = groups.first_row(group, one.tokens.len());
            for position in first * BLOCK_TOKENS..one.tokens.len() {
                let block = &one.blocks[position / BLOCK_TOKENS * groups.count() + group];
                let block = block.as_ref().expect("a window reaches it");
                let found = self.pool.bytes(block)[position % BLOCK_TOKENS];
                let expected = content(&one.namespace, &one.tokens[..=position]);
                assert_eq!(found, expected, "position {position} of {:?}", one.tokens);
            }
        }
    }

    fn insert(
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

    fn sizes(&self) -> (usize, usize) {
        let stats = self.cache.stats(&self.pool);
        (stats.nodes, stats.pinned)
    }

    fn check(&self) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cache_and_pool_agree_with_what_the_sequences_computed(
        operations in operations(),
        is_short_of_entries: bool,
        windows in prop_oneof![
            Just(vec![None]),
            Just(vec![None, Some(20)]),
            Just(vec![Some(1), Some(40), None]),
            Just(vec![Some(33)]),
        ],
    ) {
        let mut world = World::of(KvGroups::of(&windows), is_short_of_entries);
        for operation in operations {
            world.apply(operation);
            world.check();
        }
        while let Some(one) = world.take(0) {
            one.pin.inspect(|pin| world.cache.unpin(*pin));
        }
        world.cache.clear();
        world.pool.trim();
        prop_assert_eq!(world.pool.free_blocks(), world.pool.total_blocks());
        prop_assert_eq!(world.pool.pages().stats().used_pages, [0, 0, 0]);
        prop_assert_eq!(world.sizes(), (0, 0));
    }
}

/// A sequence that computes `tokens`, is kept, and ends, unless it is to run on.
fn live(world: &mut World, space: u8, tokens: &[TokenId], runs_on: bool) {
    world.begin(&namespace(space), tokens);
    let mut one = world.running.pop().unwrap();
    world.keep(&mut one);
    if runs_on {
        world.running.push(one);
    } else {
        one.pin.inspect(|pin| world.cache.unpin(*pin));
    }
    world.check();
}

fn text(length: u32, salt: u32) -> Vec<TokenId> {
    (0..length).map(|index| salt * 1000 + index).collect()
}

fn known(world: &World, space: u8, tokens: &[TokenId]) -> usize {
    world.cache.peek(&namespace(space), tokens)
}

/// A text whose windowed layers have its last rows alone, and one that leaves it after 40 tokens.
fn with_a_gap() -> (World, Vec<TokenId>) {
    let mut world = World::of(KvGroups::of(&[None, Some(20)]), false);
    let text = text(90, 1);
    world.begin(&namespace(0), &text);
    let mut one = world.running.pop().unwrap();
    world.pass(&mut one);
    world.keep(&mut one);
    one.pin.inspect(|pin| world.cache.unpin(*pin));
    let other: Vec<_> = text[..40].iter().copied().chain(500..520).collect();
    world.begin(&namespace(0), &other);
    assert_eq!(world.running[0].tokens, other);
    (world, text)
}

#[test]
fn what_was_missing_comes_back_as_far_as_texts_are_one() {
    for is_end in [true, false] {
        let (mut world, text) = with_a_gap();
        assert_eq!(known(&world, 0, &text[..50]), 0);
        let mut one = world.running.pop().unwrap();
        // Its third row goes on as the other text does not.
        world.keep_part(&mut one, 40, is_end);
        world.running.push(one);
        assert_eq!(known(&world, 0, &text[..50]), 32);
        assert_eq!(known(&world, 0, &text[..40]), if is_end { 40 } else { 32 });
        world.begin(&namespace(0), &text[..50]);
        world.check();
    }
}

#[test]
fn a_flood_of_one_tenant_leaves_the_others_theirs() {
    let mut world = World::new(false);
    let mine = text(60, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..200 {
        live(&mut world, 2 + (salt % 2) as u8, &text(40, salt), false);
        assert_eq!(known(&world, 0, &mine), 60, "prompt {salt} took it");
    }
    // The flood fills what is left, and the last of it is there.
    assert_eq!(known(&world, 3, &text(40, 199)), 40);
    // The first one grows to its half, and takes it from who has more.
    for salt in 200..202 {
        live(&mut world, 0, &text(30, salt), false);
    }
    assert_eq!(known(&world, 0, &mine), 60);
    assert!(world.cache.blocks_of(&tenant(0)) >= MAX_CACHED / 2);
}

#[test]
fn entries_are_shared_like_blocks() {
    let mut world = World::new(true);
    let mine = text(17, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..60 {
        live(&mut world, 2, &text(1, salt), false);
        assert_eq!(known(&world, 0, &mine), 17, "prompt {salt} took it");
    }
}

#[test]
fn who_holds_the_most_and_uses_all_of_it_is_not_given_more() {
    let mut world = World::new(false);
    let mine = text(32, 1);
    live(&mut world, 0, &mine, false);
    for salt in 2..5 {
        live(&mut world, 2, &text(64, salt), true);
    }
    // 2 and 12 of 15 blocks: three more do not fit, and what would make room is in use.
    assert_eq!(world.cache.blocks_of(&tenant(1)), 12);
    let refused = world.cache.stats(&world.pool).refused;
    live(&mut world, 2, &text(48, 6), true);
    assert_eq!(world.cache.stats(&world.pool).refused, refused + 1);
    assert_eq!(known(&world, 0, &mine), 32);
}

#[test]
fn blocks_for_sequences_come_from_who_has_the_most_cached() {
    let mut world = World::new(false);
    live(&mut world, 0, &text(32, 1), false);
    live(&mut world, 2, &text(96, 2), false);
    live(&mut world, 4, &text(48, 3), true);
    while world.cache.blocks_of(&tenant(1)) > 0 {
        assert!(world.evict(None));
    }
    // The third has more than the first, but uses it.
    assert!(world.evict(None));
    assert_eq!(world.cache.blocks_of(&tenant(0)), 0);
    assert!(!world.evict(None));
    assert_eq!(known(&world, 4, &text(48, 3)), 48);
}

#[test]
fn a_tenant_s_quota_takes_from_it_and_those_below_it() {
    let mut world = World::new(false);
    let names = ["a", "a-b", "a/b", "b"];
    let tenants = std::sync::Arc::clone(world.pool.pages());
    let spaces = names.map(|name| Namespace {
        tenant: name.to_owned(),
        ..Namespace::default()
    });
    for (space, length) in spaces.iter().zip([17, 60, 33, 60]) {
        let tenant = tenants.tenants().tenant(&space.tenant).unwrap();
        let tokens = text(length, 1);
        let blocks: Vec<_> = (0..rows_for(tokens.len()))
            .map(|_| Some(world.pool.take(Some(&tenant)).unwrap()))
            .collect();
        let pin = world.insert(space, &tokens, &blocks);
        world.cache.unpin(pin.unwrap());
    }
    let left = |world: &World| names.map(|name| world.cache.blocks_of(name));
    assert_eq!(left(&world), [2, 4, 3, 4]);
    assert!(world.cache.evict_one_of("a"));
    assert_eq!(
        left(&world),
        [2, 4, 0, 4],
        "the one of them that holds the most"
    );
    assert!(world.cache.evict_one_of("a"));
    assert_eq!(left(&world), [0, 4, 0, 4]);
    assert!(!world.cache.evict_one_of("a"));
}

#[test]
fn a_quota_takes_nothing_that_is_on_another_account() {
    let mut world = World::new(false);
    let payer = world.pool.pages().tenants().tenant("payer").unwrap();
    let tokens = text(20, 1);
    let blocks: Vec<_> = (0..rows_for(tokens.len()))
        .map(|_| Some(world.pool.take(Some(&payer)).unwrap()))
        .collect();
    let space = Namespace {
        tenant: "a".to_owned(),
        ..Namespace::default()
    };
    let pin = world.insert(&space, &tokens, &blocks);
    world.cache.unpin(pin.unwrap());
    assert!(!world.cache.evict_one_of("a"));
    assert_eq!(world.cache.blocks_of("a"), 2);
}

#[test]
fn what_is_forgotten_on_demand_had_to_go_for_nothing() {
    let mut world = World::new(false);
    live(&mut world, 0, &text(32, 1), false);
    live(&mut world, 2, &text(32, 2), false);
    assert!(world.evict(None));
    let evictions = |world: &World| world.cache.stats(&world.pool).evictions;
    assert_eq!(evictions(&world), 1);
    world.cache.clear();
    assert_eq!((evictions(&world), world.sizes().0), (1, 0));
}

/// A value that says nothing of its tokens.
struct Nothing;

impl EdgeValue for Nothing {
    fn split_off(&mut self, _at: usize) -> Self {
        Self
    }
}

#[test]
fn the_depth_is_that_of_the_longest_way_down() {
    let mut tree = RadixTree::default();
    let (root, empty) = (tree.add_root(), tree.add_root());
    for tokens in [&[1, 2, 3, 4][..], &[1, 2, 5], &[1, 9], &[7]] {
        tree.insert(root, tokens, |_| Nothing);
    }
    // 1, then 2, then 3 and 4, or 5.
    assert_eq!((tree.depth(root), tree.depth(empty)), (3, 0));
}

#[test]
fn hits_keep_a_beginning_for_a_while_and_not_for_ever() {
    let mut tree = RadixTree::default();
    let root = tree.add_root();
    let [first, second] = [1, 2].map(|token| tree.insert(root, &[token], |_| Nothing).node);
    tree.find(root, &[1]);
    let use_second = |tree: &mut RadixTree<Nothing>| tree.insert(root, &[2], |_| Nothing);
    use_second(&mut tree);
    assert_eq!(
        tree.least_valuable(),
        Some(second),
        "the younger, without a hit"
    );
    for _ in 0..HIT_TICKS {
        use_second(&mut tree);
    }
    assert_eq!(tree.least_valuable(), Some(first), "a hit counts so much");
    for _ in 0..4 * COUNTED_HITS {
        tree.find(root, &[1]);
    }
    for _ in 0..COUNTED_HITS * HIT_TICKS - 1 {
        use_second(&mut tree);
    }
    assert_eq!(tree.least_valuable(), Some(second), "so many count");
    use_second(&mut tree);
    use_second(&mut tree);
    assert_eq!(tree.least_valuable(), Some(first), "and no more");
}
