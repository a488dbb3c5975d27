//! What a tree holds, for those who walk it and count it, and what must always be true of it.

use super::holders::Holder;
use super::{EdgeValue, Held, Node, NodeId, RadixTree, weight_of};
use crate::ids::TokenId;

impl<V: EdgeValue> RadixTree<V> {
    /// What an edge carries.
    pub fn value(&self, id: NodeId) -> Option<&V> {
        self.node(id)?.value.as_ref()
    }

    /// The node above; `None` for a root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id)?.parent
    }

    /// The nodes below.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.node(id)
            .into_iter()
            .flat_map(|node| node.children.values().copied())
    }

    /// The tokens of the edge to a node.
    pub fn edge(&self, id: NodeId) -> &[TokenId] {
        self.node(id).map_or(&[], |node| &node.edge)
    }

    /// How many tokens stand before that edge.
    pub fn start(&self, id: NodeId) -> usize {
        self.node(id).map_or(0, |node| node.start)
    }

    /// How often a node was found.
    pub fn hits(&self, id: NodeId) -> u64 {
        self.node(id).map_or(0, |node| node.hits)
    }

    /// Nodes, roots included.
    pub fn num_nodes(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Tokens on all edges.
    pub fn num_tokens(&self) -> usize {
        self.tokens
    }

    /// Pins on all nodes.
    pub fn num_pins(&self) -> usize {
        self.pins
    }

    /// What the holder of a node has, of all its roots.
    pub fn held_beside(&self, id: NodeId) -> Held {
        self.node(id)
            .map(|node| self.holders.of(node.holder).held)
            .unwrap_or_default()
    }

    /// The most nodes under one another below a root.
    pub fn depth(&self, root: NodeId) -> usize {
        let mut deepest = 0;
        let mut open: Vec<_> = self.children(root).map(|child| (child, 1)).collect();
        while let Some((id, depth)) = open.pop() {
            deepest = deepest.max(depth);
            open.extend(self.children(id).map(|child| (child, depth + 1)));
        }
        deepest
    }

    /// Bytes of the nodes themselves, without what their values point to.
    pub fn memory_bytes(&self) -> usize {
        let slots = self.nodes.capacity() * size_of::<Option<Node<V>>>();
        let order = self.holders.num_evictable() * size_of::<(u64, NodeId)>();
        let children = self.num_nodes() * size_of::<(TokenId, NodeId)>();
        slots + order + children + self.tokens * size_of::<TokenId>()
    }

    /// What must hold after every operation; a text that says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        let (mut tokens, mut pins, mut holders) = (0, 0, self.holders.emptied());
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let id = NodeId(index as u32);
            tokens += node.edge.len();
            pins += node.pins as usize;
            if node.parent.is_some() == node.edge.is_empty() {
                return Err(format!("{id:?}: an edge where none belongs, or none"));
            }
            for (first, child) in &node.children {
                let fits = self.node(*child).is_some_and(|below| {
                    below.parent == Some(id)
                        && below.edge.first() == Some(first)
                        && below.start == node.start + node.edge.len()
                        && below.holder == node.holder
                });
                if !fits {
                    return Err(format!("{id:?}: its child {child:?} does not fit"));
                }
            }
            count(holders.of_mut(node.holder), id, node);
        }
        if (tokens, pins) != (self.tokens, self.pins) {
            return Err(format!("{tokens} tokens and {pins} pins are counted wrong"));
        }
        if let Some((found, counted)) = self
            .holders
            .iter()
            .zip(holders.iter())
            .find(|(found, counted)| found != counted)
        {
            return Err(format!(
                "a holder has {counted:?}, and is noted with {found:?}"
            ));
        }
        Ok(())
    }
}

/// Adds a node to what its holder has.
fn count<V: EdgeValue>(holder: &mut Holder, id: NodeId, node: &Node<V>) {
    if node.parent.is_none() {
        holder.roots += 1;
        return;
    }
    holder.held.nodes += 1;
    holder.held.weight += weight_of(node.value.as_ref());
    if node.children.is_empty() && node.pins == 0 {
        holder.evictable.insert((node.rank(), id));
    }
}
