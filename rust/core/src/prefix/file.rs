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

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};

use xxhash_rust::xxh3::Xxh3;

use super::cache::{Namespace, PrefixCache};
use super::radix_tree::NodeId;
use crate::error::{Error, Result};
use crate::ids::{BlockId, TokenId};
use crate::kv::{BlockRef, KvPool, blocks_for};

const MAGIC: &[u8; 8] = b"RUVLLMKV";
const VERSION: u32 = 1;
/// Bytes of a name in the file.
const MAX_NAME: usize = 4096;
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

/// Everything in a file but the blocks' bytes.
struct Contents {
    namespaces: Vec<Namespace>,
    nodes: Vec<Node>,
}

struct Node {
    /// An earlier node.
    parent: Option<usize>,
    namespace: usize,
    /// Tokens before it.
    start: usize,
    tokens: Vec<TokenId>,
    blocks: Vec<u32>,
}

impl Contents {
    /// All tokens up to the end of a node, and the blocks that hold them.
    fn path_to(&self, index: usize) -> (Vec<TokenId>, Vec<u32>) {
        let mut way = vec![index];
        while let Some(parent) = self.nodes[way[way.len() - 1]].parent {
            way.push(parent);
        }
        let (mut tokens, mut table) = (Vec::new(), Vec::new());
        for node in way.iter().rev().map(|index| &self.nodes[*index]) {
            table.truncate(node.start / crate::kv::BLOCK_TOKENS);
            table.extend(&node.blocks);
            tokens.extend(&node.tokens);
        }
        (tokens, table)
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

/// Reads a whole file and compares its checksum; the length of what stands before that.
fn verify<F: Read + Seek>(file: &mut F) -> Result<u64> {
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    let Some(content) = length.checked_sub(8).filter(|length| *length >= 12) else {
        return Err(broken(format!("it has {length} bytes, which is no cache")));
    };
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut checksum = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut left = content;
    while left > 0 {
        let part = left.min(buffer.len() as u64) as usize;
        file.read_exact(&mut buffer[..part]).map_err(io)?;
        if left == content {
            check_beginning(&buffer[..part])?;
        }
        checksum.update(&buffer[..part]);
        left -= part as u64;
    }
    let mut stored = [0; 8];
    file.read_exact(&mut stored).map_err(io)?;
    if u64::from_le_bytes(stored) != checksum.digest() {
        return Err(broken(
            "its checksum does not fit: it is damaged".to_owned(),
        ));
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(content)
}

fn check_beginning(bytes: &[u8]) -> Result<()> {
    if bytes[..8] != MAGIC[..] {
        return Err(broken("it does not begin as one".to_owned()));
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version != VERSION {
        return Err(broken(format!(
            "it is of version {version}; this program reads version {VERSION}"
        )));
    }
    Ok(())
}

/// Reads what is left of a file, and no more.
struct Reader<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read> Reader<'_, F> {
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        if length as u64 > self.left {
            return Err(broken(format!(
                "it names {length} bytes where {} are left",
                self.left
            )));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(io)?;
        self.left -= length as u64;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn long(&mut self) -> Result<u64> {
        let (low, high) = (self.number()?, self.number()?);
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    fn numbers(&mut self) -> Result<Vec<u32>> {
        let count = self.number()? as usize;
        let bytes = self.bytes(count.saturating_mul(4))?;
        let numbers = bytes.chunks_exact(4);
        Ok(numbers
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect())
    }

    fn name(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        if length > MAX_NAME {
            return Err(broken(format!("a name of {length} bytes")));
        }
        String::from_utf8(self.bytes(length)?).map_err(|_| broken("a name is no text".to_owned()))
    }
}

fn read_contents<F: Read>(
    input: &mut Reader<'_, F>,
    pool: &KvPool,
    model: &str,
) -> Result<Contents> {
    input.bytes(MAGIC.len() + 4)?;
    let (theirs, layout) = (input.name()?, input.name()?);
    if theirs != model {
        return Err(broken(format!("it belongs to {theirs}, this is {model}")));
    }
    let own = format!("{:?}", pool.layout());
    if layout != own {
        return Err(broken(format!(
            "its blocks are {layout}, the engine's {own}"
        )));
    }
    let mut namespaces = Vec::new();
    for _ in 0..input.number()? {
        namespaces.push(Namespace {
            tenant: input.name()?,
            adapter: input.long()?,
            rotary: input.long()?,
        });
    }
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..input.number()? {
        let node = read_node(input, &nodes, namespaces.len())?;
        nodes.push(node);
    }
    let blocks = input.number()?;
    if u64::from(blocks) * pool.layout().block_bytes() as u64 != input.left {
        return Err(broken(format!(
            "{blocks} blocks are not {} bytes",
            input.left
        )));
    }
    if nodes
        .iter()
        .flat_map(|node| &node.blocks)
        .any(|index| *index >= blocks)
    {
        return Err(broken("a node names a block that is not there".to_owned()));
    }
    Ok(Contents { namespaces, nodes })
}

fn read_node<F: Read>(
    input: &mut Reader<'_, F>,
    nodes: &[Node],
    namespaces: usize,
) -> Result<Node> {
    let (parent, namespace) = (input.number()?, input.number()? as usize);
    let (tokens, blocks) = (input.numbers()?, input.numbers()?);
    let above = match parent {
        NO_PARENT => None,
        index => Some(
            nodes
                .get(index as usize)
                .ok_or_else(|| broken("a node stands before its parent".to_owned()))?,
        ),
    };
    let start = above.map_or(0, |above| above.start + above.tokens.len());
    let needed = blocks_for(start + tokens.len()) - start / crate::kv::BLOCK_TOKENS;
    let is_whole = !tokens.is_empty() && blocks.len() == needed;
    if !is_whole
        || namespace >= namespaces
        || above.is_some_and(|above| above.namespace != namespace)
    {
        return Err(broken("a node does not fit its place".to_owned()));
    }
    Ok(Node {
        parent: (parent != NO_PARENT).then_some(parent as usize),
        namespace,
        start,
        tokens,
        blocks,
    })
}

fn broken(problem: String) -> Error {
    Error::Storage(format!(
        "this file cannot be used as a prefix cache: {problem}"
    ))
}

fn io(error: std::io::Error) -> Error {
    Error::Io {
        kind: error.kind(),
        message: format!("the file of a prefix cache: {error}"),
    }
}
