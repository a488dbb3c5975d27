//! Keys and values in blocks of [`BLOCK_TOKENS`] tokens, held by reference.

mod block;
mod groups;
mod host;
mod pool;
mod scheme;
mod store;
mod table;

pub use block::{BlockRef, CachedBlock, KvBlock};
pub use groups::{KvGroups, LayerTier, NEAR_THE_END};
pub use host::HostBlocks;
pub use pool::{KvPool, Shortage};
pub use ruvllm_kernels::BLOCK_TOKENS;
pub use scheme::{KvScheme, KvTail, KvWanted};
pub use store::BlockStore;
pub use table::BlockTable;

/// Rows of blocks that so many tokens need.
pub fn rows_for(tokens: usize) -> usize {
    tokens.div_ceil(BLOCK_TOKENS)
}
