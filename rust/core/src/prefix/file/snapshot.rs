//! The cache as it was at one moment, written piece by piece while the engine goes on.
//!
//! Blocks are only remembered, not held: one that is evicted meanwhile is lost to the file, and with it
//! the nodes that need it, but nobody waits for its room. Hence blocks come first in a file and the
//! nodes last, when it is known which of them are whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::Xxh3;

use super::format::{MAGIC, NO_BLOCK, NO_PARENT, VERSION, layout_of};
use crate::ids::{BlockId, TokenId};
use crate::kv::{BlockStore, CachedBlock, KvBlock, KvGroups, KvPool};
use crate::prefix::cache::PrefixCache;
use crate::prefix::edge::EdgeBlocks;
use crate::prefix::namespace::Namespace;

/// What is still to be written.
pub struct Snapshot {
    head: Vec<u8>,
    blocks: Vec<Weak<KvBlock>>,
    /// For each block that was passed, its place in the file; `None` for a lost one.
    places: Vec<Option<u32>>,
    written_blocks: u32,
    namespaces: Vec<Namespace>,
    groups: Arc<KvGroups>,
    nodes: Vec<Node>,
    written_nodes: usize,
    /// Elsewhere, since it is aligned to 64 bytes: Python's memory, in which a snapshot may lie, is to 16.
    checksum: Box<Xxh3>,
    is_done: bool,
}

struct Node {
    /// An earlier node, or [`NO_PARENT`].
    parent: u32,
    namespace: u32,
    tokens: Box<[TokenId]>,
    /// Indexes of the snapshot's blocks, or [`NO_BLOCK`].
    blocks: Vec<u32>,
    is_end: bool,
}

impl PrefixCache {
    /// All that is known now; `model` names the model and all else that decides about keys and values.
    pub fn snapshot(&self, pool: &KvPool, model: &str) -> Snapshot {
        let mut head = MAGIC.to_vec();
        put_number(&mut head, VERSION);
        put_name(&mut head, model);
        put_name(&mut head, &layout_of(pool));
        let mut open = Vec::new();
        for (index, root) in self.roots.values().enumerate() {
            let below = self.tree.children(*root);
            open.extend(below.map(|node| (node, NO_PARENT, index as u32)));
        }
        let (mut nodes, mut blocks) = (Vec::new(), BlockTable::default());
        while let Some((id, parent, namespace)) = open.pop() {
            let own = nodes.len() as u32;
            let below = self.tree.children(id);
            open.extend(below.map(|child| (child, own, namespace)));
            let edge = self.tree.value(id);
            let held = edge.map_or(&[][..], EdgeBlocks::places);
            nodes.push(Node {
                parent,
                namespace,
                tokens: self.tree.edge(id).into(),
                blocks: held
                    .iter()
                    .map(|one| blocks.index_of(one.as_ref()))
                    .collect(),
                is_end: edge.is_some_and(EdgeBlocks::is_end),
            });
        }
        Snapshot {
            head,
            blocks: blocks.order,
            places: Vec::new(),
            written_blocks: 0,
            namespaces: self.roots.keys().cloned().collect(),
            groups: Arc::clone(&self.windows.groups),
            nodes,
            written_nodes: 0,
            checksum: Box::new(Xxh3::new()),
            is_done: false,
        }
    }
}

impl Snapshot {
    /// The next bytes of the file, about `limit` of them; none when all were given.
    pub fn next_piece(&mut self, pool: &KvPool, blocks: &dyn BlockStore, limit: usize) -> Vec<u8> {
        if self.is_done {
            return Vec::new();
        }
        let mut piece = std::mem::take(&mut self.head);
        let block_bytes = pool.block_bytes();
        piece.reserve(limit.min((self.blocks.len() - self.places.len()) * block_bytes));
        while piece.len() < limit && self.places.len() < self.blocks.len() {
            let block = self.blocks[self.places.len()].upgrade();
            self.places
                .push(block.as_ref().map(|_| self.written_blocks));
            if let Some(block) = block {
                blocks.read(block.id(), &mut piece);
                self.written_blocks += 1;
            }
        }
        if self.places.len() == self.blocks.len() {
            self.put_nodes(&mut piece);
            self.checksum.update(&piece);
            piece.extend_from_slice(&self.checksum.digest().to_le_bytes());
            self.is_done = true;
        } else {
            self.checksum.update(&piece);
        }
        piece
    }

    /// Nodes in the file; known once all of it was given.
    pub fn written_nodes(&self) -> usize {
        self.written_nodes
    }

    fn put_nodes(&mut self, out: &mut Vec<u8>) {
        put_number(out, self.namespaces.len() as u32);
        for namespace in &self.namespaces {
            put_name(out, &namespace.tenant);
            out.extend_from_slice(&namespace.adapter.to_le_bytes());
            out.extend_from_slice(&namespace.rotary.to_le_bytes());
        }
        let (mut kept, mut body) = (Vec::with_capacity(self.nodes.len()), Vec::new());
        for node in &self.nodes {
            let place = self.put_node(node, &kept, &mut body);
            kept.push(place.map(|()| self.written_nodes as u32));
            self.written_nodes += usize::from(place.is_some());
        }
        put_number(out, self.written_nodes as u32);
        out.append(&mut body);
        put_number(out, self.written_blocks);
    }

    /// `None`, and nothing written, where the node or one above it has lost a block that it cannot do without.
    fn put_node(&self, node: &Node, kept: &[Option<u32>], out: &mut Vec<u8>) -> Option<()> {
        let parent = match node.parent {
            NO_PARENT => NO_PARENT,
            above => kept[above as usize]?,
        };
        let places = node.blocks.iter().enumerate();
        let places = places.map(|(place, index)| self.place_of(place, *index));
        let places: Vec<_> = places.collect::<Option<_>>()?;
        put_number(out, parent);
        put_number(out, node.namespace);
        put_numbers(out, &node.tokens);
        put_numbers(out, &places);
        put_number(out, u32::from(node.is_end));
        Some(())
    }

    /// Where the block of a place of a node stands in the file.
    fn place_of(&self, place: usize, index: u32) -> Option<u32> {
        let found = match index {
            NO_BLOCK => None,
            index => self.places[index as usize],
        };
        found.or_else(|| self.groups.may_lack(place).then_some(NO_BLOCK))
    }
}

/// Blocks in the order in which they were first named.
#[derive(Default)]
struct BlockTable {
    order: Vec<Weak<KvBlock>>,
    indexes: BTreeMap<BlockId, u32>,
}

impl BlockTable {
    fn index_of(&mut self, block: Option<&CachedBlock>) -> u32 {
        let Some(block) = block.map(CachedBlock::block) else {
            return NO_BLOCK;
        };
        let next = self.order.len() as u32;
        let index = *self.indexes.entry(block.id()).or_insert(next);
        if index == next {
            self.order.push(Arc::downgrade(block));
        }
        index
    }
}

fn put_number(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_numbers(out: &mut Vec<u8>, values: &[u32]) {
    put_number(out, values.len() as u32);
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn put_name(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}
