//! Layers with a window in the prefix cache: what of their blocks is missing, comes back, or goes first.
//!
//! To go on behind a text takes what the windows reach from its end. What they have passed only helps those who
//! leave the text in its middle: such blocks stay while there is room, and go before any text is forgotten. Whoever
//! computes the same anew brings them back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::edge::EdgeBlocks;
use super::radix_tree::{NodeId, RadixTree};
use crate::ids::TokenId;
use crate::kv::{BLOCK_TOKENS, BlockRef, CachedBlock, KvGroups, NEAR_THE_END, rows_for};

/// Computed tokens that become known.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// A text from its beginning.
    pub tokens: &'a [TokenId],
    /// Its blocks as they stand in a table.
    pub blocks: &'a [Option<BlockRef>],
    /// Whether it ends there, or goes on and is made known on the way.
    pub is_end: bool,
}

/// What the layers see, and whether there may be blocks to let go.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) groups: Arc<KvGroups>,
    may_shed: bool,
}

impl Windows {
    pub(super) fn new(groups: Arc<KvGroups>) -> Self {
        Self {
            groups,
            may_shed: false,
        }
    }

    /// Blocks came, or whoever held some let them go.
    pub(super) fn note_change(&mut self) {
        self.may_shed = self.groups.has_windows();
    }

    /// Completes what is known of a text that was inserted up to a node, by up to `room` blocks.
    pub(super) fn mend(
        &mut self,
        tree: &mut RadixTree<EdgeBlocks>,
        node: NodeId,
        known: Known<'_>,
        mut room: usize,
    ) {
        if !self.groups.has_windows() {
            return;
        }
        self.may_shed = true;
        if known.is_end {
            tree.change(node, EdgeBlocks::set_end);
        }
        let mut way = vec![node];
        while let Some(above) = tree.parent(way[way.len() - 1]) {
            way.push(above);
        }
        // From above, so that a row that two nodes share is counted in the upper one.
        let mut above = Vec::new();
        let length = known.tokens.len();
        for id in way.into_iter().rev() {
            // Where an edge goes on elsewhere, the last row is another one's as well.
            let goes_on = tree.start(id) + tree.edge(id).len() > length;
            let rows = if goes_on {
                length / BLOCK_TOKENS
            } else {
                rows_for(length)
            };
            let table = &known.blocks[..rows * self.groups.count()];
            if tree.value(id).is_some_and(|edge| edge.num_missing() > 0) {
                tree.change(id, |edge| room -= edge.mend(table, &above, room));
            }
            above = tree.value(id).map_or_else(Vec::new, EdgeBlocks::last_row);
        }
    }

    /// Lets blocks go of which a known text has no need to be gone on with, of the holder that holds the most of those
    /// that hold at least so many; whether there were any.
    pub(super) fn shed_one<'a>(
        &mut self,
        tree: &mut RadixTree<EdgeBlocks>,
        roots: impl Iterator<Item = &'a NodeId>,
        at_least: usize,
    ) -> bool {
        if !self.may_shed {
            return false;
        }
        let mut held: Vec<_> = roots
            .map(|root| (tree.held_beside(*root).weight, *root))
            .collect();
        let all = held.len();
        held.retain(|(weight, _)| *weight >= at_least);
        held.sort_by_key(|(weight, _)| Reverse(*weight));
        let is_shed = held
            .iter()
            .any(|(_, root)| self.shed(tree, *root, |_| true));
        // Where all were asked and had nothing, none needs to be asked before something changes.
        self.may_shed = is_shed || held.len() < all;
        is_shed
    }

    /// The same below one root, whatever it holds, as far as they may go.
    pub(super) fn shed(
        &self,
        tree: &mut RadixTree<EdgeBlocks>,
        root: NodeId,
        may_go: impl Fn(&CachedBlock) -> bool,
    ) -> bool {
        if !self.may_shed {
            return false;
        }
        // Of each node, where the first text ends that leads through it: who goes on there reaches back furthest.
        let mut nearest_ends = BTreeMap::new();
        let mut shed = 0;
        for id in below(tree, root).into_iter().rev() {
            let end = tree.start(id) + tree.edge(id).len();
            // Where texts part, somebody left the others there.
            let parts = tree.children(id).nth(1).is_some();
            let is_end = parts || tree.value(id).is_some_and(EdgeBlocks::is_end);
            let behind = nearest_ends.remove(&id).filter(|_| !is_end);
            let nearest = behind.unwrap_or(end);
            let needed = nearest.saturating_sub(NEAR_THE_END);
            shed += self.shed_edge(tree, id, &may_go, |group| {
                self.groups.first_row(group, needed)
            });
            if let Some(above) = tree.parent(id) {
                let known = nearest_ends.entry(above).or_insert(nearest);
                *known = nearest.min(*known);
            }
        }
        shed > 0
    }

    /// Lets even go what an end of a text needs, as far as it may and no sequence holds it: of the holder that holds the
    /// most and has one. Whether there was one.
    pub(super) fn shed_end<'a>(
        &self,
        tree: &mut RadixTree<EdgeBlocks>,
        roots: impl Iterator<Item = &'a NodeId>,
        may_go: impl Fn(&CachedBlock) -> bool,
    ) -> bool {
        if !self.groups.has_windows() {
            return false;
        }
        let mut roots: Vec<_> = roots.copied().collect();
        roots.sort_by_key(|root| Reverse(tree.held_beside(*root).weight));
        let nodes: Vec<_> = roots
            .into_iter()
            .flat_map(|root| below(tree, root))
            .collect();
        nodes
            .into_iter()
            .any(|id| self.shed_edge(tree, id, &may_go, |_| usize::MAX) > 0)
    }

    /// Lets go what of the edge to a node stands before a row of each group with a window.
    fn shed_edge(
        &self,
        tree: &mut RadixTree<EdgeBlocks>,
        id: NodeId,
        may_go: impl Fn(&CachedBlock) -> bool,
        before: impl Fn(usize) -> usize,
    ) -> usize {
        let end = tree.start(id) + tree.edge(id).len();
        let windows = self.groups.windows().iter().enumerate();
        let windowed = windows.filter(|(_, window)| window.is_some());
        let mut shed = 0;
        tree.change(id, |edge| {
            let each = windowed.map(|(group, _)| edge.shed(group, before(group), end, &may_go));
            shed = each.sum();
        });
        shed
    }
}

/// The nodes below a root, each before those below it.
fn below(tree: &RadixTree<EdgeBlocks>, root: NodeId) -> Vec<NodeId> {
    let mut nodes: Vec<_> = tree.children(root).collect();
    let mut next = 0;
    while let Some(id) = nodes.get(next) {
        nodes.extend(tree.children(*id));
        next += 1;
    }
    nodes
}
