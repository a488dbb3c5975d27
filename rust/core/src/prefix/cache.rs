//! The engine's prefix cache: which tokens were computed under which key, and where their blocks are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::edge::EdgeBlocks;
use super::namespace::{Namespace, is_of};
use super::radix_tree::{Held, Match, NodeId, RadixTree};
use super::remembered::{Remembered, beginning_of};
use super::stats::{MissReason, PrefixStats};
use super::windows::{Known, Windows};
use crate::ids::TokenId;
use crate::kv::{BLOCK_TOKENS, BlockRef, CachedBlock, KvGroups, KvPool, rows_for};

/// What a cache may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixLimits {
    /// Bytes of blocks.
    pub max_bytes: usize,
    /// Nodes.
    pub max_entries: usize,
}

/// What a lookup gave.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Tokens that need not be computed.
    pub length: usize,
    /// The blocks that hold them, as in a table; those of the last row may hold more, and must be copied before
    /// they are written.
    pub blocks: Vec<Option<BlockRef>>,
    /// Keeps them in the cache until it is given back with [`PrefixCache::unpin`].
    pub pin: Option<NodeId>,
    /// Why there is nothing.
    pub miss: Option<MissReason>,
}

/// Token prefixes and their blocks. What is full is full for all; the tenant that holds the most of it
/// gives way first, so that none loses what it has to one that has more.
#[derive(Debug)]
pub struct PrefixCache {
    pub(super) tree: RadixTree<EdgeBlocks>,
    pub(super) roots: BTreeMap<Namespace, NodeId>,
    pub(super) limits: PrefixLimits,
    pub(super) stats: PrefixStats,
    pub(super) windows: Windows,
    evicted: Remembered,
}

impl PrefixCache {
    /// An empty cache, of blocks of these groups.
    pub fn new(limits: PrefixLimits, groups: Arc<KvGroups>) -> Self {
        Self {
            tree: RadixTree::default(),
            roots: BTreeMap::new(),
            limits,
            stats: PrefixStats::default(),
            windows: Windows::new(groups),
            evicted: Remembered::default(),
        }
    }

    /// Counters and sizes.
    pub fn stats(&self, pool: &KvPool) -> PrefixStats {
        PrefixStats {
            nodes: self.entries(),
            tokens: self.tree.num_tokens(),
            pinned: self.tree.num_pins(),
            memory_bytes: cached_bytes(pool),
            max_memory_bytes: self.limits.max_bytes,
            ..self.stats.clone()
        }
    }

    /// Counts a request that is too short to be looked up.
    pub fn count_too_short(&mut self, tokens: usize) {
        self.stats.count(0, tokens, Some(MissReason::TooShort));
    }

    /// The longest known beginning of `tokens`, at most `limit` of them; pinned.
    pub fn lookup(&mut self, namespace: &Namespace, tokens: &[TokenId], limit: usize) -> Lookup {
        let Some(root) = self.roots.get(namespace).copied() else {
            return self.missed(namespace, tokens, limit, 0);
        };
        let found = self.tree.find(root, tokens);
        let (length, mut blocks) = self.usable(&found, limit);
        if length == 0 {
            return self.missed(namespace, tokens, limit, found.length);
        }
        self.stats.count(length, limit, None);
        blocks.truncate(rows_for(length) * self.windows.groups.count());
        let mut used = found.path.into_iter();
        let pin = used.rfind(|id| self.tree.start(*id) < length);
        if let Some(id) = pin {
            self.tree.pin(id);
        }
        Lookup {
            length,
            blocks,
            pin,
            miss: None,
        }
    }

    /// How many of `tokens` a lookup would find; leaves no trace.
    pub fn peek(&self, namespace: &Namespace, tokens: &[TokenId]) -> usize {
        let found = self
            .roots
            .get(namespace)
            .map(|root| self.tree.peek(*root, tokens));
        found.map_or(0, |found| self.usable(&found, tokens.len()).0)
    }

    /// Behind how many tokens of a match, at most `limit`, one can go on, and the blocks of the whole match.
    fn usable(&self, found: &Match, limit: usize) -> (usize, Vec<Option<BlockRef>>) {
        let mut blocks = Vec::new();
        for edge in found.path.iter().filter_map(|id| self.tree.value(*id)) {
            edge.lay_over(&mut blocks);
        }
        let width = self.windows.groups.count();
        let has = |row: usize, group: usize| blocks[row * width + group].is_some();
        let length = self
            .windows
            .groups
            .usable_length(found.length.min(limit), has);
        (length, blocks)
    }

    /// Lets a node be evicted again.
    pub fn unpin(&mut self, pin: NodeId) {
        // What its holder used alone becomes idle with it.
        self.windows.note_change();
        self.tree.unpin(pin);
    }

    /// Makes computed tokens known, evicting others where the budget demands it; pins them. `None`
    /// where they do not fit.
    pub fn insert(
        &mut self,
        namespace: &Namespace,
        known: Known<'_>,
        pool: &KvPool,
    ) -> Option<NodeId> {
        let Known { tokens, blocks, .. } = known;
        let width = self.windows.groups.count();
        let end = rows_for(tokens.len()) * width;
        if tokens.is_empty() || blocks.len() < end {
            return None;
        }
        let root = self.root_of(namespace);
        let found = self.tree.peek(root, tokens);
        if found.length < tokens.len() {
            let fresh = blocks[found.length / BLOCK_TOKENS * width..end].iter();
            let fresh = fresh.flatten().filter(|block| !block.is_cached()).count();
            // What leads there must not be evicted for it, the root not even with its last leaf.
            let way = found.path.last().copied().unwrap_or(root);
            self.tree.pin(way);
            self.tree.pin(root);
            let fits = self.make_room(root, fresh, pool);
            self.tree.unpin(root);
            self.tree.unpin(way);
            if !fits {
                self.stats.refused += u64::from(known.is_end);
                self.drop_empty_root(root);
                return None;
            }
            self.stats.insertions += 1;
        }
        let inserted = self.tree.insert(root, tokens, |start| {
            EdgeBlocks::of(blocks, width, start..tokens.len())
        });
        let mut node = inserted.node;
        if known.is_end && self.windows.groups.has_windows() && self.shortage(0, pool).is_none() {
            // What goes on behind it has ends of its own.
            node = self.tree.cut(node, tokens.len());
        }
        self.tree.pin(node);
        let room = self.spare_blocks(pool);
        self.windows.mend(&mut self.tree, node, known, room);
        Some(node)
    }

    /// The root of a namespace, a new one where there is none.
    pub(super) fn root_of(&mut self, namespace: &Namespace) -> NodeId {
        if let Some(root) = self.roots.get(namespace) {
            return *root;
        }
        let root = match self.any_root_of(&namespace.tenant) {
            Some(other) => self.tree.add_root_beside(other),
            None => self.tree.add_root(),
        };
        self.roots.insert(namespace.clone(), root);
        root
    }

    /// Evicts until so many blocks and one entry more fit under a root; whether they do.
    fn make_room(&mut self, root: NodeId, blocks: usize, pool: &KvPool) -> bool {
        while let Some(measure) = self.shortage(blocks, pool) {
            let own = self.tree.held_beside(root);
            let victim = self.tree.least_valuable_by(measure);
            let theirs = victim.map_or(own, |id| self.tree.held_beside(id));
            if self.spare_blocks(pool) < blocks && self.shed_one(theirs.weight.max(own.weight)) {
                continue;
            }
            let Some(id) = victim else { return false };
            // To keep more is a favour, for which nobody gives way that holds less.
            if measure(&theirs) < measure(&own) || !self.evict(id) {
                return false;
            }
        }
        true
    }

    /// Whether so many blocks and one entry more fit.
    pub(super) fn has_room(&self, blocks: usize, pool: &KvPool) -> bool {
        self.shortage(blocks, pool).is_none()
    }

    /// By what measure too much is held for so many blocks and one entry more; `None` where they fit.
    fn shortage(&self, blocks: usize, pool: &KvPool) -> Option<fn(&Held) -> usize> {
        // A split makes two nodes of one.
        if self.entries() + 2 > self.limits.max_entries {
            return Some(|held| held.nodes);
        }
        (blocks > self.spare_blocks(pool)).then_some(|held| held.weight)
    }

    /// Blocks that may be cached besides those that are.
    pub(super) fn spare_blocks(&self, pool: &KvPool) -> usize {
        let spare = self.limits.max_bytes.saturating_sub(cached_bytes(pool));
        spare / pool.block_bytes()
    }

    /// Lets go what an end of a text needs that somebody uses and has passed, of the tenant that holds the most blocks
    /// and has one, as far as it is on the account of `tenant` where one is named: when nothing else can go.
    pub fn evict_end(&mut self, tenant: Option<&str>) -> bool {
        let may_go =
            |one: &CachedBlock| tenant.is_none_or(|tenant| is_of(one.block().tenant(), tenant));
        self.windows
            .shed_end(&mut self.tree, self.roots.values(), may_go)
    }

    fn shed_one(&mut self, at_least: usize) -> bool {
        self.windows
            .shed_one(&mut self.tree, self.roots.values(), at_least)
    }

    /// Evicts the least valuable leaf of the tenant that holds the most blocks and has one, or before that blocks
    /// that no text needs to be gone on with; whether there was any.
    pub fn evict_one(&mut self) -> bool {
        let victim = self.tree.least_valuable();
        let held = victim.map_or(0, |id| self.tree.held_beside(id).weight);
        self.shed_one(held) || victim.is_some_and(|id| self.evict(id))
    }

    /// The same among one tenant and the tenants below it; only what is on their account.
    pub fn evict_one_of(&mut self, tenant: &str) -> bool {
        let is_theirs = |name: &str| is_of(name, tenant);
        let mut roots: Vec<_> = self
            .roots_from(tenant)
            .take_while(|(namespace, _)| namespace.tenant.starts_with(tenant))
            .filter(|(namespace, _)| is_theirs(&namespace.tenant))
            .map(|(_, root)| *root)
            .collect();
        roots.sort_by_key(|root| Reverse(self.tree.held_beside(*root).weight));
        let may_go = |one: &CachedBlock| is_theirs(one.block().tenant());
        let mut shed = |root: &NodeId| self.windows.shed(&mut self.tree, *root, may_go);
        if roots.iter().any(&mut shed) {
            return true;
        }
        let leaves = roots
            .into_iter()
            .flat_map(|root| self.tree.leaves_by_value(root));
        let theirs = leaves.into_iter().find(|id| {
            let edge = self.tree.value(*id);
            edge.is_some_and(|edge| edge.blocks().any(|one| is_theirs(one.block().tenant())))
        });
        theirs.is_some_and(|id| self.evict(id))
    }

    /// Blocks that the cache holds for a tenant, each counted once.
    pub fn blocks_of(&self, tenant: &str) -> usize {
        let root = self.any_root_of(tenant);
        root.map_or(0, |root| self.tree.held_beside(root).weight)
    }

    /// One of a tenant's roots.
    fn any_root_of(&self, tenant: &str) -> Option<NodeId> {
        let (namespace, root) = self.roots_from(tenant).next()?;
        (namespace.tenant == tenant).then_some(*root)
    }

    /// The roots of a tenant and of all that stand behind it in the order of names.
    fn roots_from(&self, tenant: &str) -> impl Iterator<Item = (&Namespace, &NodeId)> {
        self.roots.range(
            Namespace {
                tenant: tenant.to_owned(),
                ..Namespace::default()
            }..,
        )
    }

    fn evict(&mut self, id: NodeId) -> bool {
        let parent = self.tree.parent(id);
        let start = self.tree.start(id);
        let beginning = beginning_of(self.tree.edge(id)).map(<[_]>::to_vec);
        if self.tree.remove_leaf(id).is_none() {
            return false;
        }
        self.stats.evictions += 1;
        if let Some(root) = parent.filter(|_| start == 0) {
            if let Some(beginning) = beginning {
                let namespace = self.roots.iter().find(|(_, known)| **known == root);
                if let Some((namespace, _)) = namespace {
                    self.evicted.add(namespace, &beginning);
                }
            }
            self.drop_empty_root(root);
        }
        true
    }

    /// Forgets everything that nobody uses.
    pub fn clear(&mut self) {
        let before = self.stats.evictions;
        let roots: Vec<_> = self.roots.values().copied().collect();
        for root in roots {
            let next = |cache: &Self| cache.tree.leaves_by_value(root).next();
            while next(self).is_some_and(|leaf| self.evict(leaf)) {}
        }
        // It was asked for: nothing had to go for something else.
        self.stats.evictions = before;
        self.evicted = Remembered::default();
    }

    pub(super) fn drop_empty_root(&mut self, root: NodeId) {
        if self.tree.remove_root(root) {
            self.roots.retain(|_, known| *known != root);
        }
    }

    /// Nodes that hold something.
    fn entries(&self) -> usize {
        self.tree.num_nodes() - self.roots.len()
    }

    /// Nothing was found to go on with, of so many tokens that are known.
    fn missed(
        &mut self,
        namespace: &Namespace,
        tokens: &[TokenId],
        limit: usize,
        known: usize,
    ) -> Lookup {
        let was_there =
            beginning_of(tokens).is_some_and(|beginning| self.evicted.has(namespace, beginning));
        // Of a text that is known without its windows, these are what had to go.
        let reason = if was_there || known.min(limit) > 0 {
            MissReason::Evicted
        } else if self.roots.contains_key(namespace) {
            MissReason::Unknown
        } else {
            MissReason::Empty
        };
        self.stats.count(0, limit, Some(reason));
        Lookup {
            miss: Some(reason),
            ..Lookup::default()
        }
    }

    /// What must hold after every operation; a text that says what does not.
    pub fn check_invariants(&self, pool: &KvPool) -> Result<(), String> {
        self.tree.check_invariants()?;
        if cached_bytes(pool) > self.limits.max_bytes {
            return Err(format!(
                "{} bytes are cached, {} are allowed",
                cached_bytes(pool),
                self.limits.max_bytes
            ));
        }
        if self.entries() > self.limits.max_entries {
            return Err(format!("{} entries are too many", self.entries()));
        }
        Ok(())
    }
}

fn cached_bytes(pool: &KvPool) -> usize {
    pool.cached_blocks() * pool.block_bytes()
}
