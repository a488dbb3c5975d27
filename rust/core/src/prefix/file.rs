//! A cache on disk, so that a restarted server starts warm.
//!
//! ```text
//! magic, version, model, layout          what it is and belongs to
//! namespaces, nodes (parents first)      which tokens, and which blocks hold them
//! blocks                                 their bytes, one after the other
//! checksum                               XXH3 of all before
//! ```
//!
//! All numbers are little-endian. A file is read twice: for the checksum, then for its contents, of
//! which every length is checked against what is left.

mod contents;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::Xxh3;

use self::contents::{Reader, read_contents, verify};
use super::cache::PrefixCache;
use super::radix_tree::NodeId;
use crate::error::{Error, Result};
use crate::ids::BlockId;
use crate::kv::{BlockRef, KvPool};

const MAGIC: &[u8; 8] = b"RUVLLMKV";
const VERSION: u32 = 1;
/// The parent of a node that stands under its namespace's root.
const NO_PARENT: u32 = u32::MAX;

/// What a file held, and how much of it found room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Nodes in the file.
    pub nodes: usize,
    /// Of those, nodes that are in the cache now.
    pub loaded_nodes: usize,
    /// Tokens on them.
    pub loaded_tokens: usize,
}

impl PrefixCache {
    /// Writes everything that is known; `model` names the model and all else that decides about keys
    /// and values. How many nodes were written.
    pub fn save(&self, pool: &KvPool, model: &str, file: &mut dyn Write) -> Result<usize> {
        let mut out = Writer {
            file,
            checksum: Xxh3::new(),
        };
        out.bytes(MAGIC)?;
        out.number(VERSION)?;
        out.name(model)?;
        out.name(&format!("{:?}", pool.layout()))?;
        out.number(self.roots.len() as u32)?;
        let mut open = Vec::new();
        for (index, (namespace, root)) in self.roots.iter().enumerate() {
            out.name(&namespace.tenant)?;
            out.bytes(&namespace.adapter.to_le_bytes())?;
            out.bytes(&namespace.rotary.to_le_bytes())?;
            let below = self.tree.children(*root);
            open.extend(below.map(|node| (node, NO_PARENT, index as u32)));
        }
        let mut blocks = BlockTable::default();
        let nodes = self.tree.num_nodes() - self.roots.len();
        out.number(nodes as u32)?;
        let mut written = 0;
        while let Some((node, parent, namespace)) = open.pop() {
            out.number(parent)?;
            out.number(namespace)?;
            self.write_node(node, &mut blocks, &mut out)?;
            let below = self.tree.children(node);
            open.extend(below.map(|child| (child, written, namespace)));
            written += 1;
        }
        out.number(blocks.order.len() as u32)?;
        for block in &blocks.order {
            out.bytes(pool.bytes(block))?;
        }
        let checksum = out.checksum.digest();
        out.file.write_all(&checksum.to_le_bytes()).map_err(io)?;
        out.file.flush().map_err(io)?;
        Ok(nodes)
    }

    fn write_node(
        &self,
        node: NodeId,
        blocks: &mut BlockTable,
        out: &mut Writer<'_>,
    ) -> Result<()> {
        let edge = self.tree.edge(node);
        out.number(edge.len() as u32)?;
        for token in edge {
            out.number(*token)?;
        }
        let held = self.tree.value(node).map_or(&[][..], |edge| edge.blocks());
        out.number(held.len() as u32)?;
        for cached in held {
            out.number(blocks.index_of(cached.block()))?;
        }
        Ok(())
    }

    /// Reads a file into the cache, as far as the budgets allow; what is known already stays. Nothing
    /// is taken from a file that is damaged or belongs to another model.
    pub fn load<F: Read + Seek>(
        &mut self,
        pool: &mut KvPool,
        model: &str,
        file: &mut F,
    ) -> Result<Loaded> {
        let length = verify(file)?;
        let mut input = Reader { file, left: length };
        let contents = read_contents(&mut input, pool, model)?;
        let first_block = length - input.left;
        let mut reading = Reading {
            file: input.file,
            first_block,
            blocks: BTreeMap::new(),
        };
        let mut loaded = Loaded {
            nodes: contents.nodes.len(),
            ..Loaded::default()
        };
        for index in 0..contents.nodes.len() {
            let (tokens, table) = contents.path_to(index);
            let namespace = &contents.namespaces[contents.nodes[index].namespace];
            if self.peek(namespace, &tokens) == tokens.len() {
                continue;
            }
            let Some(blocks) = reading.blocks(pool, &table)? else {
                break;
            };
            if let Some(pin) = self.insert(namespace, &tokens, &blocks, pool) {
                self.unpin(pin);
                loaded.loaded_nodes += 1;
                loaded.loaded_tokens += contents.nodes[index].tokens.len();
            }
        }
        Ok(loaded)
    }
}

/// The blocks of a file, in the order in which they were first named.
#[derive(Default)]
struct BlockTable {
    order: Vec<BlockRef>,
    indexes: BTreeMap<BlockId, u32>,
}

impl BlockTable {
    fn index_of(&mut self, block: &BlockRef) -> u32 {
        let next = self.order.len() as u32;
        let index = *self.indexes.entry(block.id()).or_insert(next);
        if index == next {
            self.order.push(BlockRef::clone(block));
        }
        index
    }
}

struct Writer<'a> {
    file: &'a mut dyn Write,
    checksum: Xxh3,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        self.file.write_all(bytes).map_err(io)
    }

    fn number(&mut self, value: u32) -> Result<()> {
        self.bytes(&value.to_le_bytes())
    }

    fn name(&mut self, text: &str) -> Result<()> {
        self.number(text.len() as u32)?;
        self.bytes(text.as_bytes())
    }
}

/// Blocks of a file that are in the pool already.
struct Reading<'a, F> {
    file: &'a mut F,
    /// Where their bytes begin.
    first_block: u64,
    blocks: BTreeMap<u32, BlockRef>,
}

impl<F: Read + Seek> Reading<'_, F> {
    /// The blocks of a table; `None` where the pool has no room without eviction.
    fn blocks(&mut self, pool: &mut KvPool, table: &[u32]) -> Result<Option<Vec<BlockRef>>> {
        let mut blocks = Vec::with_capacity(table.len());
        for index in table {
            if let Some(block) = self.blocks.get(index) {
                blocks.push(BlockRef::clone(block));
                continue;
            }
            if pool.excess_blocks(1) > 0 {
                return Ok(None);
            }
            let Ok(block) = pool.take(None) else {
                return Ok(None);
            };
            let place = u64::from(*index) * pool.layout().block_bytes() as u64;
            self.file
                .seek(SeekFrom::Start(self.first_block + place))
                .map_err(io)?;
            self.file.read_exact(pool.bytes_mut(&block)).map_err(io)?;
            self.blocks.insert(*index, BlockRef::clone(&block));
            blocks.push(block);
        }
        Ok(Some(blocks))
    }
}

fn broken(problem: &str) -> Error {
    Error::Storage(format!(
        "this file cannot be used as a prefix cache: {problem}"
    ))
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn io(error: std::io::Error) -> Error {
    Error::Io {
        kind: error.kind(),
        message: format!("the file of a prefix cache: {error}"),
    }
}
