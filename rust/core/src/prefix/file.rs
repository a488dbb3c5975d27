//! A cache on disk, so that a restarted server starts warm.
//!
//! ```text
//! magic, version, model, layout          what it is and belongs to
//! blocks                                 their bytes, one after the other
//! namespaces, nodes (parents first)      which tokens, and which blocks hold them, where windows left them
//! number of blocks
//! checksum                               XXH3 of all before
//! ```
//!
//! All numbers are little-endian. A file is read twice: for the checksum, then for its contents, of
//! which every length is checked against what is left. The time that takes is linear in its bytes.

mod contents;
mod format;
mod snapshot;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use self::contents::{Bounds, Node, read_contents, verify};
use self::format::{NO_BLOCK, io};
pub use self::snapshot::Snapshot;
use super::cache::PrefixCache;
use super::edge::EdgeBlocks;
use super::radix_tree::NodeId;
use crate::error::Result;
use crate::kv::{BLOCK_TOKENS, BlockRef, BlockStore, KvPool};

/// What a file held, and how much of it found room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Nodes in the file.
    pub nodes: usize,
    /// Of those, nodes that were not known and are in the cache now.
    pub loaded_nodes: usize,
    /// Tokens of them that were not known.
    pub loaded_tokens: usize,
}

impl PrefixCache {
    /// Reads a file into the cache, as far as there is room without eviction. Nothing is taken from a
    /// file that is damaged, belongs to another model, or has prefixes of more than `max_tokens`.
    pub fn load<F: Read + Seek>(
        &mut self,
        (pool, blocks): (&mut KvPool, &mut dyn BlockStore),
        model: &str,
        max_tokens: usize,
        file: &mut F,
    ) -> Result<Loaded> {
        let length = verify(file)?;
        let bounds = Bounds {
            max_tokens,
            max_nodes: self.limits.max_entries,
        };
        let contents = read_contents(file, length, (pool, model), bounds)?;
        let mut reading = Reading {
            file,
            store: blocks,
            bytes: vec![0; pool.block_bytes()],
            first_block: contents.first_block,
            position: None,
            blocks: BTreeMap::new(),
        };
        let mut loaded = Loaded {
            nodes: contents.num_nodes,
            ..Loaded::default()
        };
        // Where each node of the file ends in the tree; ends stay where they are when edges are cut.
        let mut ends: Vec<NodeId> = Vec::with_capacity(contents.nodes.len());
        for node in &contents.nodes {
            let above = match node.parent {
                Some(index) => ends[index],
                None => self.root_of(&contents.namespaces[node.namespace]),
            };
            let known = self.tree.peek(above, &node.tokens).length;
            let Some(end) = self.load_node(above, known, node, pool, &mut reading)? else {
                self.drop_empty_root(above);
                break;
            };
            ends.push(end);
            loaded.loaded_nodes += usize::from(known < node.tokens.len());
            loaded.loaded_tokens += node.tokens.len() - known;
        }
        self.windows.note_change();
        Ok(loaded)
    }

    /// Makes a node of a file known under the node above it, where its first `known` tokens are
    /// already. `None` where there is no room.
    fn load_node<F: Read + Seek>(
        &mut self,
        above: NodeId,
        known: usize,
        node: &Node,
        pool: &mut KvPool,
        reading: &mut Reading<'_, F>,
    ) -> Result<Option<NodeId>> {
        let width = self.windows.groups.count();
        let mut blocks = Vec::new();
        if known < node.tokens.len() {
            let first = node.start / BLOCK_TOKENS;
            let before = (node.start + known) / BLOCK_TOKENS - first;
            let missing = &node.blocks[before * width..];
            if !self.has_room(reading.num_unread(missing), pool) {
                return Ok(None);
            }
            match reading.blocks(pool, missing)? {
                Some(read) => blocks = read,
                None => return Ok(None),
            }
            self.stats.insertions += 1;
        } else if !self.has_room(0, pool) {
            return Ok(None);
        }
        let extended = self.tree.extend(above, &node.tokens, |start| {
            EdgeBlocks::new(start, width, &blocks)
        });
        if node.is_end {
            self.tree.change(extended.node, EdgeBlocks::set_end);
        }
        Ok(Some(extended.node))
    }
}

/// Blocks of a file that are in the pool already.
struct Reading<'a, F> {
    file: &'a mut F,
    store: &'a mut dyn BlockStore,
    /// Of one block, on their way.
    bytes: Vec<u8>,
    /// Where their bytes begin.
    first_block: u64,
    /// Where the file stands, once that is known: what is read in order needs no seeking.
    position: Option<u64>,
    blocks: BTreeMap<u32, BlockRef>,
}

impl<F: Read + Seek> Reading<'_, F> {
    fn num_unread(&self, table: &[u32]) -> usize {
        let unread = table
            .iter()
            .filter(|index| **index != NO_BLOCK && !self.blocks.contains_key(index));
        unread.count()
    }

    /// The blocks of a table; `None` where the pool has no room without eviction.
    fn blocks(
        &mut self,
        pool: &mut KvPool,
        table: &[u32],
    ) -> Result<Option<Vec<Option<BlockRef>>>> {
        let mut blocks = Vec::with_capacity(table.len());
        for index in table {
            let known = self.blocks.get(index);
            if *index == NO_BLOCK || known.is_some() {
                blocks.push(known.map(BlockRef::clone));
                continue;
            }
            if pool.excess_blocks(1) > 0 {
                return Ok(None);
            }
            let Ok(block) = pool.take(None) else {
                return Ok(None);
            };
            self.read(*index)?;
            self.store.write(block.id(), &self.bytes);
            self.blocks.insert(*index, BlockRef::clone(&block));
            blocks.push(Some(block));
        }
        Ok(Some(blocks))
    }

    /// Brings the bytes of a block.
    fn read(&mut self, index: u32) -> Result<()> {
        let bytes = self.bytes.len() as u64;
        let place = self.first_block + u64::from(index) * bytes;
        if self.position != Some(place) {
            self.file.seek(SeekFrom::Start(place)).map_err(io)?;
        }
        self.file.read_exact(&mut self.bytes).map_err(io)?;
        self.position = Some(place + bytes);
        Ok(())
    }
}
