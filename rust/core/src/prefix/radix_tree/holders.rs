//! Whose the nodes of a tree are, what each holds of it, and which of its leaves may go.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::NodeId;

/// Who holds some of a tree: the owner of one root or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HolderId(u32);

/// What a holder has of a tree, its roots not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Nodes.
    pub nodes: usize,
    /// The weights of what their edges carry, in one.
    pub weight: usize,
}

/// All holders of a tree; a place without a root is free for the next one.
#[derive(Debug, Default)]
pub(super) struct Holders {
    places: Vec<Holder>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) roots: usize,
    pub(super) held: Held,
    /// Leaves without pins, the least valuable first.
    pub(super) evictable: BTreeSet<(u64, NodeId)>,
}

impl Holders {
    /// A new one, for its first root.
    pub(super) fn add(&mut self) -> HolderId {
        let free = self.places.iter().position(|holder| holder.roots == 0);
        let place = free.unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(Holder::default());
        }
        HolderId(place as u32)
    }

    pub(super) fn of(&self, id: HolderId) -> &Holder {
        &self.places[id.0 as usize]
    }

    pub(super) fn of_mut(&mut self, id: HolderId) -> &mut Holder {
        &mut self.places[id.0 as usize]
    }

    /// Among those that have a leaf which may go, the least valuable leaf of the one that holds the most.
    ///
    /// Looks at each holder: there are as many as tenants, and only an eviction asks.
    pub(super) fn least_valuable(&self, measure: impl Fn(&Held) -> usize) -> Option<NodeId> {
        let firsts = self.places.iter().filter_map(|holder| {
            let first = holder.evictable.first()?;
            Some((measure(&holder.held), Reverse(*first)))
        });
        firsts.max().map(|(_, Reverse((_, id)))| id)
    }

    pub(super) fn num_evictable(&self) -> usize {
        self.places
            .iter()
            .map(|holder| holder.evictable.len())
            .sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.places.iter()
    }

    /// As many, without anything: to be counted anew.
    pub(super) fn emptied(&self) -> Self {
        let mut places = Vec::new();
        places.resize_with(self.places.len(), Holder::default);
        Self { places }
    }
}
