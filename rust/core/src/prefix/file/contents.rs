//! What stands in a file beside the blocks' bytes, with every length checked against what is left.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};

use xxhash_rust::xxh3::Xxh3;

use super::format::{MAGIC, NO_BLOCK, NO_PARENT, VERSION, broken, io, layout_of};
use crate::error::Result;
use crate::ids::TokenId;
use crate::kv::{BLOCK_TOKENS, KvGroups, KvPool, rows_for};
use crate::prefix::namespace::Namespace;

/// Bytes of a name in the file.
const MAX_NAME: usize = 4096;

/// Everything in a file but the blocks' bytes.
pub(super) struct Contents {
    /// Where the blocks begin.
    pub(super) first_block: u64,
    pub(super) namespaces: Vec<Namespace>,
    /// How many nodes the file has.
    pub(super) num_nodes: usize,
    /// The first of them: no more than the cache may hold.
    pub(super) nodes: Vec<Node>,
}

pub(super) struct Node {
    /// An earlier node.
    pub(super) parent: Option<usize>,
    pub(super) namespace: usize,
    /// Tokens before it.
    pub(super) start: usize,
    pub(super) tokens: Vec<TokenId>,
    /// Those of all its positions, the first of which may hold what stands before as well, or [`NO_BLOCK`].
    pub(super) blocks: Vec<u32>,
    /// Whether a text ended there.
    pub(super) is_end: bool,
}

/// What is taken from a file at most.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Tokens from the first to the last of a prefix.
    pub(super) max_tokens: usize,
    pub(super) max_nodes: usize,
}

/// Reads a whole file and compares its checksum; the length of what stands before that.
pub(super) fn verify<F: Read + Seek>(file: &mut F) -> Result<u64> {
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    let Some(content) = length.checked_sub(8).filter(|length| *length >= 16) else {
        return Err(broken(&format!("it has {length} bytes, which is no cache")));
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
        return Err(broken("its checksum does not fit: it is damaged"));
    }
    Ok(content)
}

fn check_beginning(bytes: &[u8]) -> Result<()> {
    if bytes[..8] != MAGIC[..] {
        return Err(broken("it does not begin as one"));
    }
    let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if version != VERSION {
        return Err(broken(&format!(
            "it is of version {version}; this program reads version {VERSION}"
        )));
    }
    Ok(())
}

/// Reads a part of a file, and no more.
struct Reader<'a, F> {
    file: &'a mut F,
    left: u64,
}

impl<F: Read> Reader<'_, F> {
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        if length as u64 > self.left {
            return Err(broken(&format!(
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

    fn numbers(&mut self, count: usize) -> Result<Vec<u32>> {
        let bytes = self.bytes(count.saturating_mul(4))?;
        let numbers = bytes.chunks_exact(4);
        Ok(numbers
            .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect())
    }

    fn name(&mut self) -> Result<String> {
        let length = self.number()? as usize;
        if length > MAX_NAME {
            return Err(broken(&format!("a name of {length} bytes")));
        }
        String::from_utf8(self.bytes(length)?).map_err(|_| broken("a name is no text"))
    }
}

/// Reads all but the blocks out of a file whose checksum stands at `length`.
pub(super) fn read_contents<F: Read + Seek>(
    file: &mut F,
    length: u64,
    (pool, model): (&KvPool, &str),
    bounds: Bounds,
) -> Result<Contents> {
    // The last number is that of the blocks.
    let end = length - 4;
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    let mut input = Reader { file, left: end };
    check_owner(&mut input, pool, model)?;
    let first_block = end - input.left;
    let mut last = Reader {
        file: input.file,
        left: 4,
    };
    last.file.seek(SeekFrom::Start(end)).map_err(io)?;
    let num_blocks = last.number()?;
    let blocks_bytes = u64::from(num_blocks) * pool.block_bytes() as u64;
    let Some(left) = (end - first_block).checked_sub(blocks_bytes) else {
        return Err(broken(&format!(
            "{num_blocks} blocks are more than its {length} bytes"
        )));
    };
    let mut input = Reader {
        file: last.file,
        left,
    };
    input.file.seek(SeekFrom::Start(end - left)).map_err(io)?;
    let namespaces = read_namespaces(&mut input)?;
    let num_nodes = input.number()? as usize;
    let mut tree = Tree {
        bounds,
        groups: pool.groups(),
        num_namespaces: namespaces.len(),
        num_blocks,
        nodes: Vec::new(),
        beginnings: BTreeSet::new(),
    };
    for _ in 0..num_nodes.min(bounds.max_nodes) {
        tree.read_node(&mut input)?;
    }
    if input.left > 0 && num_nodes <= bounds.max_nodes {
        return Err(broken(&format!("{} bytes follow its nodes", input.left)));
    }
    Ok(Contents {
        first_block,
        namespaces,
        num_nodes,
        nodes: tree.nodes,
    })
}

fn check_owner<F: Read>(input: &mut Reader<'_, F>, pool: &KvPool, model: &str) -> Result<()> {
    input.bytes(MAGIC.len() + 4)?;
    let (theirs, layout) = (input.name()?, input.name()?);
    if theirs != model {
        return Err(broken(&format!("it belongs to {theirs}, this is {model}")));
    }
    let own = layout_of(pool);
    if layout != own {
        return Err(broken(&format!(
            "its blocks are {layout}, the engine's {own}"
        )));
    }
    Ok(())
}

fn read_namespaces<F: Read>(input: &mut Reader<'_, F>) -> Result<Vec<Namespace>> {
    let (mut namespaces, mut known) = (Vec::new(), BTreeSet::new());
    for _ in 0..input.number()? {
        let namespace = Namespace {
            tenant: input.name()?,
            adapter: input.long()?,
            rotary: input.long()?,
        };
        if !known.insert(namespace.clone()) {
            return Err(broken("a namespace stands there twice"));
        }
        namespaces.push(namespace);
    }
    Ok(namespaces)
}

/// The nodes that were read so far.
struct Tree<'a> {
    bounds: Bounds,
    groups: &'a KvGroups,
    num_namespaces: usize,
    num_blocks: u32,
    nodes: Vec<Node>,
    /// Under which node, in which namespace, something begins with which token. That each stands there
    /// once, as in any radix tree, is what keeps loading linear: no edge of the file cuts another.
    beginnings: BTreeSet<(u32, u32, TokenId)>,
}

impl Tree<'_> {
    fn read_node<F: Read>(&mut self, input: &mut Reader<'_, F>) -> Result<()> {
        let (parent, namespace) = (input.number()?, input.number()?);
        let above = match parent {
            NO_PARENT => None,
            index => Some(
                self.nodes
                    .get(index as usize)
                    .ok_or_else(|| broken("a node stands before its parent"))?,
            ),
        };
        let start = above.map_or(0, |above| above.start + above.tokens.len());
        let namespace_fits = (namespace as usize) < self.num_namespaces
            && above.is_none_or(|above| above.namespace == namespace as usize);
        let length = input.number()? as usize;
        let end = start.saturating_add(length);
        if end > self.bounds.max_tokens {
            return Err(broken(&format!(
                "it has a prefix of {end} tokens, and the context holds {}",
                self.bounds.max_tokens
            )));
        }
        let tokens = input.numbers(length)?;
        let needed = (rows_for(end) - start / BLOCK_TOKENS) * self.groups.count();
        let fits = namespace_fits && input.number()? as usize == needed;
        let first = tokens.first().filter(|_| fits).copied();
        if first.is_none_or(|first| !self.beginnings.insert((parent, namespace, first))) {
            return Err(broken("a node does not fit its place"));
        }
        let blocks = input.numbers(needed)?;
        let is_there = |(place, index): (usize, &u32)| match *index {
            NO_BLOCK => self.groups.may_lack(place),
            index => index < self.num_blocks,
        };
        if !blocks.iter().enumerate().all(is_there) {
            return Err(broken("a node names a block that is not there"));
        }
        let is_end = input.number()?;
        if is_end > 1 {
            return Err(broken("a node says what is neither true nor false"));
        }
        self.nodes.push(Node {
            parent: (parent != NO_PARENT).then_some(parent as usize),
            namespace: namespace as usize,
            start,
            tokens,
            blocks,
            is_end: is_end == 1,
        });
        Ok(())
    }
}
