//! Where the bytes of blocks are: whoever computes keeps them, and the pool knows their numbers alone.

use std::fmt;
use std::ops::Range;

use crate::ids::BlockId;

/// The bytes of a pool's blocks. A block is written by its taker, before anyone else holds it.
pub trait BlockStore: fmt::Debug {
    /// Copies a whole block into another one.
    fn copy(&mut self, from: BlockId, to: BlockId);

    /// Adds the bytes of a block to those that are there.
    fn read(&self, block: BlockId, into: &mut Vec<u8>);

    /// Puts the bytes of a whole block into it.
    fn write(&mut self, block: BlockId, bytes: &[u8]);

    /// Gives memory back that no block in use touches: these of the bytes of all blocks, one after the other.
    fn release(&mut self, bytes: Range<usize>);
}
