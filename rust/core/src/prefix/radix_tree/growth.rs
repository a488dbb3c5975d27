//! How a tree grows: a node is put behind others, or an edge is cut in two.

use std::collections::BTreeMap;

use super::holders::HolderId;
use super::{EdgeValue, Node, NodeId, RadixTree, weight_of};
use crate::ids::TokenId;

/// Where a new node stands, and what its edge is.
pub(super) struct Place<V> {
    pub(super) parent: Option<NodeId>,
    pub(super) holder: HolderId,
    pub(super) start: usize,
    pub(super) edge: Box<[TokenId]>,
    pub(super) value: Option<V>,
}

impl<V: EdgeValue> RadixTree<V> {
    /// A new node behind all that stands on the way to `parent`.
    pub(super) fn add_below(&mut self, parent: NodeId, edge: Box<[TokenId]>, value: V) -> NodeId {
        let Some(above) = self.node(parent) else {
            return parent;
        };
        let place = Place {
            parent: Some(parent),
            holder: above.holder,
            start: above.start + above.edge.len(),
            edge,
            value: Some(value),
        };
        self.add_node(place)
    }

    pub(super) fn add_node(&mut self, place: Place<V>) -> NodeId {
        let Place {
            parent,
            holder,
            start,
            edge,
            value,
        } = place;
        let id = self.free.pop().unwrap_or(NodeId(self.nodes.len() as u32));
        if id.0 as usize == self.nodes.len() {
            self.nodes.push(None);
        }
        let first = edge.first().copied();
        self.tokens += edge.len();
        if parent.is_some() {
            let held = &mut self.holders.of_mut(holder).held;
            held.nodes += 1;
            held.weight += weight_of(value.as_ref());
        }
        self.nodes[id.0 as usize] = Some(Node {
            parent,
            holder,
            start,
            edge,
            value,
            children: BTreeMap::new(),
            pins: 0,
            hits: 0,
            last_used: self.clock,
            listed: None,
        });
        if let (Some(parent), Some(first)) = (parent, first) {
            if let Some(above) = self.node_mut(parent) {
                above.children.insert(first, id);
            }
            self.relist(parent);
            self.relist(id);
        }
        id
    }

    /// Changes what an edge carries, and with it what it counts for.
    pub fn change(&mut self, id: NodeId, change: impl FnOnce(&mut V)) {
        let Some(node) = self.nodes.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let Some(value) = &mut node.value else { return };
        let before = value.weight();
        change(value);
        let held = &mut self.holders.of_mut(node.holder).held;
        held.weight = held.weight + value.weight() - before;
    }

    /// The node that ends at a position of the edge to `id`, which is cut there where need be; pins stay on what is behind.
    pub fn cut(&mut self, id: NodeId, position: usize) -> NodeId {
        let at = position - self.start(id);
        if at < self.edge(id).len() {
            self.split(id, at)
        } else {
            id
        }
    }

    /// Cuts the edge to a node in two; gives the new node above it.
    fn split(&mut self, id: NodeId, at: usize) -> NodeId {
        let Some(node) = self.node_mut(id) else {
            return id;
        };
        let (front, rest) = node.edge.split_at(at);
        let (front, rest): (Box<[_]>, Box<[_]>) = (front.into(), rest.into());
        let weight = weight_of(node.value.as_ref());
        let rest_value = node.value.as_mut().map(|value| value.split_off(at));
        let weight_of_rest = weight_of(rest_value.as_ref());
        let place = Place {
            parent: node.parent,
            holder: node.holder,
            start: node.start,
            edge: front,
            value: std::mem::replace(&mut node.value, rest_value),
        };
        let (hits, last_used) = (node.hits, node.last_used);
        let first_of_rest = rest[0];
        node.edge = rest;
        node.start += at;
        self.tokens -= at;
        let held = &mut self.holders.of_mut(place.holder).held;
        held.weight = held.weight + weight_of_rest - weight;
        let above = self.add_node(place);
        if let Some(node) = self.node_mut(above) {
            node.children.insert(first_of_rest, id);
            node.hits = hits;
            node.last_used = last_used;
        }
        if let Some(node) = self.node_mut(id) {
            node.parent = Some(above);
        }
        self.relist(above);
        above
    }
}
