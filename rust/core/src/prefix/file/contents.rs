//! What stands in a file before the blocks' bytes, with every length checked against what is left.

use std::io::{Read, Seek, SeekFrom};

use xxhash_rust::xxh3::Xxh3;

use super::{MAGIC, NO_PARENT, VERSION, broken, io};
use crate::error::Result;
use crate::ids::TokenId;
use crate::kv::{BLOCK_TOKENS, KvPool, blocks_for};
use crate::prefix::cache::Namespace;

/// Bytes of a name in the file.
const MAX_NAME: usize = 4096;

/// Everything in a file but the blocks' bytes.
pub(super) struct Contents {
    pub(super) namespaces: Vec<Namespace>,
    pub(super) nodes: Vec<Node>,
}

pub(super) struct Node {
    /// An earlier node.
    parent: Option<usize>,
    pub(super) namespace: usize,
    /// Tokens before it.
    start: usize,
    pub(super) tokens: Vec<TokenId>,
    blocks: Vec<u32>,
}

impl Contents {
    /// All tokens up to the end of a node, and the blocks that hold them.
    pub(super) fn path_to(&self, index: usize) -> (Vec<TokenId>, Vec<u32>) {
        let mut way = vec![index];
        while let Some(parent) = self.nodes[way[way.len() - 1]].parent {
            way.push(parent);
        }
        let (mut tokens, mut table) = (Vec::new(), Vec::new());
        for node in way.iter().rev().map(|index| &self.nodes[*index]) {
            table.truncate(node.start / BLOCK_TOKENS);
            table.extend(&node.blocks);
            tokens.extend(&node.tokens);
        }
        (tokens, table)
    }
}

/// Reads a whole file and compares its checksum; the length of what stands before that.
pub(super) fn verify<F: Read + Seek>(file: &mut F) -> Result<u64> {
    let length = file.seek(SeekFrom::End(0)).map_err(io)?;
    let Some(content) = length.checked_sub(8).filter(|length| *length >= 12) else {
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
    file.seek(SeekFrom::Start(0)).map_err(io)?;
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

/// Reads what is left of a file, and no more.
pub(super) struct Reader<'a, F> {
    pub(super) file: &'a mut F,
    pub(super) left: u64,
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
            return Err(broken(&format!("a name of {length} bytes")));
        }
        String::from_utf8(self.bytes(length)?).map_err(|_| broken("a name is no text"))
    }
}

pub(super) fn read_contents<F: Read>(
    input: &mut Reader<'_, F>,
    pool: &KvPool,
    model: &str,
) -> Result<Contents> {
    input.bytes(MAGIC.len() + 4)?;
    let (theirs, layout) = (input.name()?, input.name()?);
    if theirs != model {
        return Err(broken(&format!("it belongs to {theirs}, this is {model}")));
    }
    let own = format!("{:?}", pool.layout());
    if layout != own {
        return Err(broken(&format!(
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
        return Err(broken(&format!(
            "{blocks} blocks are not {} bytes",
            input.left
        )));
    }
    if nodes
        .iter()
        .flat_map(|node| &node.blocks)
        .any(|index| *index >= blocks)
    {
        return Err(broken("a node names a block that is not there"));
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
                .ok_or_else(|| broken("a node stands before its parent"))?,
        ),
    };
    let start = above.map_or(0, |above| above.start + above.tokens.len());
    let needed = blocks_for(start + tokens.len()) - start / BLOCK_TOKENS;
    let is_whole = !tokens.is_empty() && blocks.len() == needed;
    if !is_whole
        || namespace >= namespaces
        || above.is_some_and(|above| above.namespace != namespace)
    {
        return Err(broken("a node does not fit its place"));
    }
    Ok(Node {
        parent: (parent != NO_PARENT).then_some(parent as usize),
        namespace,
        start,
        tokens,
        blocks,
    })
}
