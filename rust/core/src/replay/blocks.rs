//! Blocks in which stands, for each position, the text up to it.

use crate::batch::BatchSequence;
use crate::error::{Error, Result};
use crate::ids::BlockId;
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

    /// The text before the rows of a sequence, once all blocks that it sees of it are found to be of one.
    pub(super) fn read(&self, begin: Mark, rows: &BatchSequence) -> Result<Mark> {
        let mut text = None;
        for blocks in self.tables(rows) {
            let of_group = self.text_before(begin, &blocks, rows.first_position)?;
            if *text.get_or_insert(of_group) != of_group {
                let what = "is of another text than that of the first group";
                return Err(blocks.wrong(rows.first_position.saturating_sub(1), what));
            }
        }
        Ok(text.unwrap_or(begin))
    }

    /// Writes the marks of the rows of a sequence behind the text `before` them.
    pub(super) fn write(
        &mut self,
        before: Mark,
        rows: &BatchSequence,
        marks: &[Mark],
    ) -> Result<()> {
        for blocks in self.tables(rows) {
            let mut text = before;
            for (position, mark) in (rows.first_position..).zip(marks) {
                let (block, place) = (blocks.at(position / BLOCK_TOKENS)?, position % BLOCK_TOKENS);
                if place == 0 {
                    self.set_mark(block, 0, text);
                }
                text = *mark;
                self.set_mark(block, place + 1, text);
            }
        }
        Ok(())
    }

    /// The blocks of a sequence, by group.
    fn tables<'a>(&self, rows: &'a BatchSequence) -> Vec<Table<'a>> {
        let groups = 0..self.0.groups().count();
        let table = |group| Table {
            group,
            ids: &rows.block_tables[group],
            sequence: rows.owner.0,
        };
        groups.map(table).collect()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ruvllm_kernels::KvFormat;

    use super::*;
    use crate::batch::Wanted;
    use crate::cancel::CancelFlag;
    use crate::ids::SequenceId;
    use crate::kv::{BlockStore, KvGroups, KvScheme};
    use crate::memory::{PAGE_BYTES, PagePoolConfig, Watermarks};

    const BEGIN: Mark = Mark(5);
    const WINDOW: usize = 20;

    /// Sixteen blocks of two groups: one sees all, the other a window.
    fn blocks() -> MarkedBlocks {
        let scheme = KvScheme::plain(KvFormat::I16);
        let groups = KvGroups::of(&[None, Some(WINDOW)], (2, 8), scheme);
        assert_eq!(groups.count(), 2);
        let config = PagePoolConfig {
            budget_bytes: groups.block_bytes() * 16,
            page_bytes: PAGE_BYTES,
            watermarks: Watermarks::default(),
        };
        MarkedBlocks::of(&KvPool::new(groups, config).unwrap()).unwrap()
    }

    fn rows(first_position: usize, tables: [&[u32]; 2]) -> BatchSequence {
        BatchSequence {
            owner: SequenceId(1),
            cancel: CancelFlag::default(),
            first_row: 0,
            rows: 0,
            first_position,
            block_tables: Arc::new(tables.map(<[u32]>::to_vec).to_vec()),
            rope_length: 0,
            wanted: Wanted::Nothing,
            adapters: Arc::default(),
            head: None,
            is_captured: false,
        }
    }

    /// A text of so many tokens behind one, written into blocks.
    fn write(blocks: &mut MarkedBlocks, begin: Mark, count: u32, tables: [&[u32]; 2]) -> Mark {
        let mut marks = Vec::new();
        for token in 0..count {
            marks.push(marks.last().copied().unwrap_or(begin).then(token));
        }
        blocks.write(begin, &rows(0, tables), &marks).unwrap();
        marks[count as usize - 1]
    }

    #[test]
    fn a_text_is_read_as_far_back_as_windows_reach() {
        let mut blocks = blocks();
        let tables = [&[0, 1, 2, 3][..], &[4, 5, 6, 7]];
        let text = write(&mut blocks, BEGIN, 60, tables);
        assert_eq!(blocks.read(BEGIN, &rows(60, tables)), Ok(text));
        // A query at 60 sees 41 to 60: the block of 32 on, of the second group.
        let passed = [tables[0], &[NO_BLOCK, NO_BLOCK, 6, 7]];
        assert_eq!(blocks.read(BEGIN, &rows(60, passed)), Ok(text));
    }

    #[test]
    fn blocks_that_are_not_the_text_s_are_found_out() {
        let mut blocks = blocks();
        let tables = [&[0, 1, 2, 3][..], &[4, 5, 6, 7]];
        write(&mut blocks, BEGIN, 60, tables);
        write(
            &mut blocks,
            Mark(6),
            60,
            [&[8, 9, 10, 11], &[12, 13, 14, 15]],
        );
        let error = |begin, tables| {
            let read = blocks.read(begin, &rows(60, tables));
            read.unwrap_err().to_string()
        };
        for (wrong, what) in [
            // Went too early.
            (
                [&[0, 1, 2, 3][..], &[NO_BLOCK, NO_BLOCK, NO_BLOCK, 7]],
                "of position 32 in group 1 is missing",
            ),
            (
                [&[0, NO_BLOCK, 2, 3], &[4, 5, 6, 7]],
                "of position 16 in group 0 is missing",
            ),
            // Another text's, in the middle, and for all of a group.
            (
                [&[0, 9, 2, 3], &[4, 5, 6, 7]],
                "of position 16 in group 0 does not follow",
            ),
            (
                [&[0, 1, 2, 3], &[12, 13, 14, 15]],
                "of another text than that of the first group",
            ),
            // In another order.
            ([&[0, 2, 1, 3], &[4, 5, 6, 7]], "does not follow"),
        ] {
            let message = error(BEGIN, wrong);
            assert!(message.contains(what), "{message}");
        }
        // Of another adapter, or under other frequencies.
        let message = error(Mark(6), tables);
        assert!(
            message.contains("of position 0 in group 0 does not follow"),
            "{message}"
        );
    }

    #[test]
    fn a_copy_that_was_forgotten_is_found_out() {
        let mut blocks = blocks();
        let tables = [&[0, 1][..], &[4, 5]];
        let text = write(&mut blocks, BEGIN, 20, tables);
        let own = [&[0, 8][..], &[4, 9]];
        assert!(blocks.read(BEGIN, &rows(20, own)).is_err());
        for (from, to) in [(1, 8), (5, 9)] {
            blocks.0.copy(BlockId(from), BlockId(to));
        }
        assert_eq!(blocks.read(BEGIN, &rows(20, own)), Ok(text));
    }
}
