//! Blocks in which stands, for each position, the text up to it.

use crate::batch::BatchSequence;
use crate::error::{Error, Result};
use crate::ids::{BlockId, TokenId};
use crate::kv::{BLOCK_TOKENS, HostBlocks, KvPool};
use crate::model::NO_BLOCK;

use super::mark::Mark;

const MARK_BYTES: usize = size_of::<u64>();
/// The mark before a block's first position, and those of its positions.
const USED_BYTES: usize = (BLOCK_TOKENS + 1) * MARK_BYTES;

/// Blocks of the size that a model's would have, with marks in their first bytes.
#[derive(Debug)]
pub(super) struct MarkedBlocks(pub(super) HostBlocks);

impl MarkedBlocks {
    /// Room for all blocks of a pool.
    pub(super) fn of(pool: &KvPool) -> Result<Self> {
        if pool.block_bytes() < USED_BYTES {
            return Err(Error::Config(format!(
                "a block of this model has {} bytes; a replay needs {USED_BYTES}",
                pool.block_bytes()
            )));
        }
        HostBlocks::of(pool).map(Self)
    }

    /// Reads what a sequence has, and writes its next tokens behind it; gives the mark of each of these.
    pub(super) fn advance(
        &mut self,
        begin: Mark,
        rows: &BatchSequence,
        tokens: &[TokenId],
    ) -> Result<Vec<Mark>> {
        let mut marks = Vec::new();
        for group in 0..self.0.groups().count() {
            let blocks = Table {
                group,
                ids: &rows.block_tables[group],
                sequence: rows.owner.0,
            };
            let before = self.text_before(begin, &blocks, rows.first_position)?;
            let of_group = self.write(before, &blocks, rows.first_position, tokens)?;
            if group > 0 && marks != of_group {
                return Err(blocks.wrong(
                    rows.first_position,
                    "is of another text than the first group's",
                ));
            }
            marks = of_group;
        }
        Ok(marks)
    }

    /// The text up to a position, once all blocks that a window reaches from there are seen to be of one text.
    fn text_before(&self, begin: Mark, blocks: &Table<'_>, position: usize) -> Result<Mark> {
        let Some(last) = position.checked_sub(1) else {
            return Ok(begin);
        };
        // By itself, not as whoever fills tables says it.
        let window = self.0.groups().windows()[blocks.group];
        let seen = window.map_or(0, |window| (position + 1).saturating_sub(window.max(1)));
        let first_row = seen / BLOCK_TOKENS;
        for row in first_row..=last / BLOCK_TOKENS {
            let before = self.mark(blocks.at(row)?, 0);
            let known = match row.checked_sub(1) {
                None => begin,
                Some(above) if above < first_row => continue,
                Some(above) => self.mark(blocks.at(above)?, BLOCK_TOKENS),
            };
            if before != known {
                return Err(blocks.wrong(
                    row * BLOCK_TOKENS,
                    "does not follow upon what stands before",
                ));
            }
        }
        Ok(self.mark(blocks.at(last / BLOCK_TOKENS)?, last % BLOCK_TOKENS + 1))
    }

    fn write(
        &mut self,
        mut text: Mark,
        blocks: &Table<'_>,
        first: usize,
        tokens: &[TokenId],
    ) -> Result<Vec<Mark>> {
        let mut marks = Vec::with_capacity(tokens.len());
        for (position, token) in (first..).zip(tokens) {
            let (block, place) = (blocks.at(position / BLOCK_TOKENS)?, position % BLOCK_TOKENS);
            if place == 0 {
                self.set_mark(block, 0, text);
            }
            text = text.then(*token);
            self.set_mark(block, place + 1, text);
            marks.push(text);
        }
        Ok(marks)
    }

    fn mark(&self, block: BlockId, place: usize) -> Mark {
        let bytes = &self.0.bytes(block)[place * MARK_BYTES..][..MARK_BYTES];
        Mark(
            bytes
                .iter()
                .rev()
                .fold(0, |mark, byte| mark << 8 | u64::from(*byte)),
        )
    }

    fn set_mark(&mut self, block: BlockId, place: usize, mark: Mark) {
        let bytes = &mut self.0.bytes_mut(block)[place * MARK_BYTES..][..MARK_BYTES];
        bytes.copy_from_slice(&mark.0.to_le_bytes());
    }
}

/// The blocks of one group that a sequence was given.
struct Table<'a> {
    group: usize,
    ids: &'a [u32],
    sequence: u64,
}

impl Table<'_> {
    fn at(&self, row: usize) -> Result<BlockId> {
        match self.ids.get(row) {
            Some(id) if *id != NO_BLOCK => Ok(BlockId(*id)),
            _ => Err(self.wrong(row * BLOCK_TOKENS, "is missing")),
        }
    }

    fn wrong(&self, position: usize, what: &str) -> Error {
        Error::KvCache(format!(
            "replay of sequence {}: the block of position {position} in group {} {what}",
            self.sequence, self.group
        ))
    }
}
