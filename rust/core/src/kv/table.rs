//! A sequence's blocks in the order of its positions.

use std::sync::Arc;

use super::block::BlockRef;
use super::groups::KvGroups;
use crate::ids::BlockId;

/// Stands in a table for a block that no layer looks at any more. No pool has so many blocks: who reads it by
/// mistake is stopped.
const PASSED: u32 = u32::MAX;

/// The blocks that one sequence holds, and their ids as attention reads them. Both change together, so that
/// a step has its table ready; the pool counts which of its blocks stand in any.
#[derive(Debug)]
pub struct BlockTable {
    groups: Arc<KvGroups>,
    /// A row for each [`super::BLOCK_TOKENS`] positions, in it a block of each group; `None` where windows have passed.
    blocks: Vec<Option<BlockRef>>,
    /// By group. Shared with the batch of a step; alone between two steps, and so changed in place.
    ids: Arc<Vec<Vec<u32>>>,
    /// Rows of each group that its window has passed.
    passed: Vec<usize>,
    held: usize,
}

impl BlockTable {
    /// A table without blocks.
    pub fn new(groups: &Arc<KvGroups>) -> Self {
        Self::of(groups, Vec::new())
    }

    /// A table of blocks that stand in the order of its own.
    pub fn of(groups: &Arc<KvGroups>, blocks: Vec<Option<BlockRef>>) -> Self {
        let mut table = Self {
            groups: Arc::clone(groups),
            blocks: Vec::with_capacity(blocks.len()),
            ids: Arc::new(vec![Vec::new(); groups.count()]),
            passed: vec![0; groups.count()],
            held: 0,
        };
        for block in blocks {
            table.put(block);
        }
        table
    }

    /// Adds the next block.
    pub fn push(&mut self, block: BlockRef) {
        self.put(Some(block));
    }

    /// Leaves the place of the next block empty.
    pub fn skip(&mut self) {
        self.put(None);
    }

    fn put(&mut self, block: Option<BlockRef>) {
        let (row, group) = self.place(self.blocks.len());
        let id = block.as_ref().map_or(PASSED, |block| block.id().0);
        if let Some(block) = &block {
            block.enter_table();
            self.held += 1;
        } else if self.passed[group] == row {
            self.passed[group] += 1;
        }
        Arc::make_mut(&mut self.ids)[group].push(id);
        self.blocks.push(block);
    }

    /// Keeps the blocks of the first `rows` times [`super::BLOCK_TOKENS`] positions.
    pub fn truncate(&mut self, rows: usize) {
        while self.blocks.len() > rows * self.groups.count() {
            let (_, group) = self.place(self.blocks.len() - 1);
            Arc::make_mut(&mut self.ids)[group].pop();
            if let Some(Some(block)) = self.blocks.pop() {
                block.leave_table();
                self.held -= 1;
            }
        }
        self.passed
            .iter_mut()
            .for_each(|passed| *passed = rows.min(*passed));
    }

    /// Whether there are blocks that whoever goes on at `position` has no use for.
    pub fn has_passed(&self, position: usize) -> bool {
        let mut passed = self.passed.iter().enumerate();
        passed.any(|(group, passed)| *passed < self.end_of_passed(group, position))
    }

    /// Lets those go.
    pub fn let_passed_go(&mut self, position: usize) {
        let count = self.groups.count();
        for group in 0..count {
            let end = self.end_of_passed(group, position);
            for row in self.passed[group]..end {
                if let Some(block) = self.blocks[row * count + group].take() {
                    block.leave_table();
                    self.held -= 1;
                    Arc::make_mut(&mut self.ids)[group][row] = PASSED;
                }
            }
            self.passed[group] = self.passed[group].max(end);
        }
    }

    /// Lets all of them go.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Rows that are whole.
    pub fn rows(&self) -> usize {
        self.blocks.len() / self.groups.count()
    }

    /// How many blocks it holds.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The blocks, row by row, one of each group.
    pub fn blocks(&self) -> &[Option<BlockRef>] {
        &self.blocks
    }

    /// The places of the first rows.
    pub fn places_in(&self, rows: usize) -> &[Option<BlockRef>] {
        &self.blocks[..rows * self.groups.count()]
    }

    /// The most of `length` tokens behind which its holder can go on.
    pub fn usable_length(&self, length: usize) -> usize {
        let at = |row: usize, group: usize| self.blocks.get(row * self.groups.count() + group);
        self.groups
            .usable_length(length, |row, group| matches!(at(row, group), Some(Some(_))))
    }

    /// Their ids, by group.
    pub fn ids(&self) -> &Arc<Vec<Vec<u32>>> {
        &self.ids
    }

    /// What must hold; a text that says what does not.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (index, block) in self.blocks.iter().enumerate() {
            let (row, group) = self.place(index);
            let id = block.as_ref().map_or(BlockId(PASSED), |block| block.id());
            if self.ids[group].get(row) != Some(&id.0) {
                return Err(format!(
                    "row {row} of group {group} is {id:?}, and has the ids {:?}",
                    self.ids[group]
                ));
            }
        }
        if self.ids.iter().map(Vec::len).sum::<usize>() != self.blocks.len() {
            return Err("a table has more ids than blocks".to_owned());
        }
        Ok(())
    }

    /// The first row of a group that whoever goes on at `position` holds, as far as there are rows.
    fn end_of_passed(&self, group: usize, position: usize) -> usize {
        self.groups.first_held_row(group, position).min(self.rows())
    }

    /// The row and the group of a place.
    fn place(&self, index: usize) -> (usize, usize) {
        (index / self.groups.count(), index % self.groups.count())
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.blocks
            .iter()
            .flatten()
            .for_each(|block| block.leave_table());
    }
}
