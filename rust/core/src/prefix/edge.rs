//! What an edge of the engine's tree carries: the blocks that hold its tokens.

use std::ops::Range;

use crate::ids::BlockId;
use crate::kv::{BLOCK_TOKENS, BlockRef, CachedBlock, rows_for};

use super::radix_tree::EdgeValue;

/// The blocks of an edge's positions, a row for each [`BLOCK_TOKENS`] of them, in it a block of each group of
/// layers. Where the edge begins inside a row, that row also holds what stands before: it takes the place of the
/// parent's.
#[derive(Debug)]
pub(super) struct EdgeBlocks {
    start: usize,
    /// Groups of layers.
    width: usize,
    /// `None` where a window had passed, or what it reaches was let go.
    blocks: Vec<Option<CachedBlock>>,
    /// Blocks of the first row that a node above holds as well: they count there.
    shared: usize,
    /// Whether a text was known as far as here and no further: others may go on there.
    is_end: bool,
}

impl EdgeBlocks {
    /// The blocks of positions `start..end` out of a sequence's table.
    pub(super) fn of(table: &[Option<BlockRef>], width: usize, positions: Range<usize>) -> Self {
        let rows = positions.start / BLOCK_TOKENS * width..rows_for(positions.end) * width;
        Self::new(positions.start, width, &table[rows])
    }

    /// An edge that begins at position `start`, inside or at the beginning of the first row.
    pub(super) fn new(start: usize, width: usize, blocks: &[Option<BlockRef>]) -> Self {
        // Who computed it may have made the row's beginning known before, and gone on in it. Nothing
        // else holds it then: the way to here is what leads to it.
        let is_inside = !start.is_multiple_of(BLOCK_TOKENS);
        let first = blocks.iter().take(width).flatten();
        let cached = first.filter(|block| block.is_cached()).count();
        Self {
            start,
            width,
            shared: if is_inside { cached } else { 0 },
            blocks: blocks
                .iter()
                .map(|block| block.as_ref().map(CachedBlock::new))
                .collect(),
            is_end: false,
        }
    }

    /// Puts them into a table, over what the nodes above have put there.
    pub(super) fn lay_over(&self, table: &mut Vec<Option<BlockRef>>) {
        table.truncate(self.start / BLOCK_TOKENS * self.width);
        let blocks = self.blocks.iter();
        table.extend(blocks.map(|cached| cached.as_ref().map(|one| one.block().clone())));
    }

    /// The blocks that it has.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &CachedBlock> {
        self.blocks.iter().flatten()
    }

    /// The same with the places where there is none.
    pub(super) fn places(&self) -> &[Option<CachedBlock>] {
        &self.blocks
    }

    /// Whether a text was known as far as here and no further.
    pub(super) fn is_end(&self) -> bool {
        self.is_end
    }

    pub(super) fn set_end(&mut self) {
        self.is_end = true;
    }

    /// How many blocks are missing.
    pub(super) fn num_missing(&self) -> usize {
        self.blocks.len() - self.blocks().count()
    }

    /// The ids of the blocks of the last row.
    pub(super) fn last_row(&self) -> Vec<Option<BlockId>> {
        let row = self.blocks.iter().rev().take(self.width).rev();
        row.map(|cached| Some(cached.as_ref()?.block().id()))
            .collect()
    }

    /// Takes missing blocks out of the table of a sequence that has computed the same, as far as there is `room` for
    /// more; how much of that it took. `above` is the last row of the node above.
    pub(super) fn mend(
        &mut self,
        table: &[Option<BlockRef>],
        above: &[Option<BlockId>],
        room: usize,
    ) -> usize {
        let mut taken = 0;
        let first = self.start / BLOCK_TOKENS * self.width;
        let is_inside = !self.start.is_multiple_of(BLOCK_TOKENS);
        let known = table.get(first..).unwrap_or_default();
        let places = self.blocks.iter_mut().zip(known).enumerate();
        for (index, (place, block)) in places {
            let Some(block) = block.as_ref().filter(|_| place.is_none()) else {
                continue;
            };
            let is_above = is_inside && above.get(index) == Some(&Some(block.id()));
            // Below a node that shares a row, it counts already.
            if is_above || !block.is_cached() && taken < room {
                self.shared += usize::from(is_above);
                taken += usize::from(!is_above);
                *place = Some(CachedBlock::new(block));
            }
        }
        taken
    }

    /// Lets the blocks of a group go that stand before a row, as far as they may and nobody else holds them; how many
    /// they were. Rows that the neighbours share stay.
    pub(super) fn shed(
        &mut self,
        group: usize,
        before: usize,
        end: usize,
        may_go: impl Fn(&CachedBlock) -> bool,
    ) -> usize {
        let first = self.start / BLOCK_TOKENS;
        let rows = self.start.div_ceil(BLOCK_TOKENS)..before.min(end / BLOCK_TOKENS);
        let mut shed = 0;
        for row in rows {
            let place = &mut self.blocks[(row - first) * self.width + group];
            if place
                .as_ref()
                .is_some_and(|one| one.is_idle() && may_go(one))
            {
                *place = None;
                shed += 1;
            }
        }
        shed
    }
}

impl EdgeValue for EdgeBlocks {
    fn split_off(&mut self, at: usize) -> Self {
        let first = self.start / BLOCK_TOKENS;
        let border = self.start + at;
        let rest = self.blocks[(border / BLOCK_TOKENS - first) * self.width..].to_vec();
        self.blocks
            .truncate((rows_for(border) - first) * self.width);
        let is_inside = !border.is_multiple_of(BLOCK_TOKENS);
        let shared = rest.iter().take(self.width).flatten().count();
        Self {
            start: border,
            width: self.width,
            shared: if is_inside { shared } else { 0 },
            blocks: rest,
            // Someone goes on elsewhere from the border; where the whole ended, the rest does.
            is_end: std::mem::replace(&mut self.is_end, true),
        }
    }

    /// The blocks that it keeps besides those of the nodes above.
    fn weight(&self) -> usize {
        self.blocks().count() - self.shared
    }
}
