//! A radix tree over token ids: what begins alike is kept once, and matched to the token.
//!
//! Nodes stand in an arena and are named by ids; time is a counter. An edge carries a value that can
//! be cut at any token. A leaf that nobody pinned may be taken out, the least valuable first: the one
//! whose last use is longest ago, where each hit counts as [`HIT_TICKS`] of time. Where the roots have
//! several holders, the one that holds the most gives way first.

mod growth;
mod holders;
mod inspect;

use std::collections::BTreeMap;

use self::growth::Place;
use self::holders::{HolderId, Holders};
use crate::ids::TokenId;

pub use self::holders::Held;

/// How much younger a hit makes a node, in uses of the tree.
pub const HIT_TICKS: u64 = 16;
/// Hits beyond these make a node no younger: what was popular long ago must go in the end.
pub const COUNTED_HITS: u64 = 32;

/// What an edge carries; it covers the edge's tokens.
pub trait EdgeValue {
    /// Keeps the first `at` tokens' part, and gives the rest.
    #[must_use]
    fn split_off(&mut self, at: usize) -> Self;

    /// How much it counts for when holders are compared.
    fn weight(&self) -> usize {
        1
    }
}

/// One node of a tree. A pinned node keeps its id; others may lose theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// The longest known beginning of some tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// How many tokens are known.
    pub length: usize,
    /// The nodes on the way, from the root's child on; of the last one only a part may match.
    pub path: Vec<NodeId>,
}

/// Where an insertion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insertion {
    /// The node that holds the last token.
    pub node: NodeId,
    /// How many tokens were there before.
    pub existing: usize,
}

/// The tree; it may have several roots, which share nothing but the arena and the order of use.
#[derive(Debug)]
pub struct RadixTree<V> {
    nodes: Vec<Option<Node<V>>>,
    free: Vec<NodeId>,
    holders: Holders,
    clock: u64,
    tokens: usize,
    pins: usize,
}

#[derive(Debug)]
struct Node<V> {
    /// `None` for a root.
    parent: Option<NodeId>,
    holder: HolderId,
    /// Tokens before the edge.
    start: usize,
    edge: Box<[TokenId]>,
    /// `None` for a root.
    value: Option<V>,
    children: BTreeMap<TokenId, NodeId>,
    pins: u32,
    hits: u64,
    last_used: u64,
    /// Under which rank it stands among the evictable.
    listed: Option<u64>,
}

impl<V> Default for RadixTree<V> {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            holders: Holders::default(),
            clock: 0,
            tokens: 0,
            pins: 0,
        }
    }
}

impl<V: EdgeValue> RadixTree<V> {
    /// A new root, of a new holder.
    pub fn add_root(&mut self) -> NodeId {
        let holder = self.holders.add();
        self.add_root_of(holder)
    }

    /// A new root of the holder of another one.
    pub fn add_root_beside(&mut self, other: NodeId) -> NodeId {
        match self.node(other).map(|node| node.holder) {
            Some(holder) => self.add_root_of(holder),
            None => self.add_root(),
        }
    }

    fn add_root_of(&mut self, holder: HolderId) -> NodeId {
        self.holders.of_mut(holder).roots += 1;
        self.add_node(Place {
            parent: None,
            holder,
            start: 0,
            edge: Box::default(),
            value: None,
        })
    }

    /// Takes a root out that has nothing under it and no pin; whether it was so.
    pub fn remove_root(&mut self, root: NodeId) -> bool {
        let empty = self
            .node(root)
            .filter(|node| node.parent.is_none() && node.children.is_empty() && node.pins == 0);
        let Some(holder) = empty.map(|node| node.holder) else {
            return false;
        };
        self.holders.of_mut(holder).roots -= 1;
        self.nodes[root.0 as usize] = None;
        self.free.push(root);
        true
    }

    /// The longest known beginning of `tokens`; every node on the way counts a hit.
    pub fn find(&mut self, root: NodeId, tokens: &[TokenId]) -> Match {
        let found = self.peek(root, tokens);
        self.clock += 1;
        for id in &found.path {
            self.touch(*id, 1);
        }
        found
    }

    /// The same, without a trace.
    pub fn peek(&self, root: NodeId, tokens: &[TokenId]) -> Match {
        let mut found = Match {
            length: 0,
            path: Vec::new(),
        };
        let mut current = root;
        while let Some((child, common)) = self.step(current, &tokens[found.length..]) {
            found.length += common;
            found.path.push(child);
            if common < self.edge(child).len() {
                break;
            }
            current = child;
        }
        found
    }

    /// Makes `tokens` known; `value` is asked for what the tree does not hold yet, which begins at the
    /// position that it is given.
    pub fn insert(
        &mut self,
        root: NodeId,
        tokens: &[TokenId],
        value: impl FnOnce(usize) -> V,
    ) -> Insertion {
        let found = self.peek(root, tokens);
        self.clock += 1;
        for id in &found.path {
            self.touch(*id, 0);
        }
        let last = found.path.last().copied().unwrap_or(root);
        if found.length == tokens.len() {
            return Insertion {
                node: last,
                existing: found.length,
            };
        }
        let parent = self.cut(last, found.length);
        let value = value(found.length);
        let node = self.add_below(parent, Box::from(&tokens[found.length..]), value);
        Insertion {
            node,
            existing: found.length,
        }
    }

    /// Makes known what goes on behind a node, and gives the node that ends with it, cut off a longer
    /// one where need be. Touches nothing above, so that it costs what `tokens` are long.
    pub fn extend(
        &mut self,
        above: NodeId,
        tokens: &[TokenId],
        value: impl FnOnce(usize) -> V,
    ) -> Insertion {
        let found = self.peek(above, tokens);
        self.clock += 1;
        let position = self.start(above) + self.edge(above).len() + found.length;
        let last = found.path.last().copied().unwrap_or(above);
        let mut node = self.cut(last, position);
        let rest = &tokens[found.length..];
        if !rest.is_empty() {
            node = self.add_below(node, rest.into(), value(position));
        }
        Insertion {
            node,
            existing: found.length,
        }
    }

    /// Keeps a node, and what leads to it, until it is unpinned as often.
    pub fn pin(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.pins += 1;
            self.pins += 1;
            self.relist(id);
        }
    }

    /// Takes one pin off a node.
    pub fn unpin(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id)
            && node.pins > 0
        {
            node.pins -= 1;
            self.pins -= 1;
            self.relist(id);
        }
    }

    /// The leaf that would go first: the least valuable one of the holder with the greatest weight.
    pub fn least_valuable(&self) -> Option<NodeId> {
        self.least_valuable_by(|held| held.weight)
    }

    /// The same where another measure says who holds the most. Holders without a leaf that may go are
    /// passed over; where several hold as much, it is the least valuable leaf of them all.
    pub fn least_valuable_by(&self, measure: impl Fn(&Held) -> usize) -> Option<NodeId> {
        self.holders.least_valuable(measure)
    }

    /// The leaves that may go of the holder of a node, the first to go first.
    pub fn leaves_by_value(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let holder = self.node(id).map(|node| self.holders.of(node.holder));
        let leaves = holder.into_iter().flat_map(|holder| &holder.evictable);
        leaves.map(|(_, id)| *id)
    }

    /// Takes a leaf out that nobody pinned; gives its value.
    pub fn remove_leaf(&mut self, id: NodeId) -> Option<V> {
        let node = self.node(id)?;
        let listed = (node.listed?, id);
        let node = self.nodes[id.0 as usize].take()?;
        let holder = self.holders.of_mut(node.holder);
        holder.evictable.remove(&listed);
        holder.held.nodes -= 1;
        holder.held.weight -= weight_of(node.value.as_ref());
        self.free.push(id);
        self.tokens -= node.edge.len();
        let parent = node.parent?;
        if let Some(above) = self.node_mut(parent) {
            above.children.remove(&node.edge[0]);
        }
        self.relist(parent);
        node.value
    }

    fn node(&self, id: NodeId) -> Option<&Node<V>> {
        self.nodes.get(id.0 as usize)?.as_ref()
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node<V>> {
        self.nodes.get_mut(id.0 as usize)?.as_mut()
    }

    /// The child that goes on with `tokens`, and how many of its edge's tokens are theirs.
    fn step(&self, id: NodeId, tokens: &[TokenId]) -> Option<(NodeId, usize)> {
        let child = *self.node(id)?.children.get(tokens.first()?)?;
        Some((child, common_length(self.edge(child), tokens)))
    }

    fn touch(&mut self, id: NodeId, hits: u64) {
        let now = self.clock;
        if let Some(node) = self.node_mut(id) {
            node.last_used = now;
            node.hits += hits;
            self.relist(id);
        }
    }

    /// Puts a node where it belongs among the evictable, or out of them.
    fn relist(&mut self, id: NodeId) {
        let Some(node) = self.nodes[id.0 as usize].as_mut() else {
            return;
        };
        let is_evictable = node.parent.is_some() && node.children.is_empty() && node.pins == 0;
        let rank = is_evictable.then(|| node.rank());
        if rank == node.listed {
            return;
        }
        let before = std::mem::replace(&mut node.listed, rank);
        let evictable = &mut self.holders.of_mut(node.holder).evictable;
        if let Some(before) = before {
            evictable.remove(&(before, id));
        }
        if let Some(rank) = rank {
            evictable.insert((rank, id));
        }
    }
}

impl<V> Node<V> {
    /// When it was used last, made younger by its hits.
    fn rank(&self) -> u64 {
        self.last_used + HIT_TICKS * self.hits.min(COUNTED_HITS)
    }
}

fn weight_of<V: EdgeValue>(value: Option<&V>) -> usize {
    value.map_or(0, V::weight)
}

/// How many tokens two texts have in common at their beginnings.
pub(crate) fn common_length(left: &[TokenId], right: &[TokenId]) -> usize {
    // Whole chunks first: comparing them is a few vector instructions each.
    const CHUNK: usize = 64;
    let whole = left
        .chunks_exact(CHUNK)
        .zip(right.chunks_exact(CHUNK))
        .take_while(|(left, right)| left == right)
        .count();
    let begin = whole * CHUNK;
    let rest = left[begin..].iter().zip(&right[begin..]);
    begin + rest.take_while(|(left, right)| left == right).count()
}
