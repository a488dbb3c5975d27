//! Keys and values in blocks of [`BLOCK_TOKENS`] tokens, held by reference.

mod block;
mod pool;
mod table;

pub use block::{BlockRef, CachedBlock, KvBlock};
pub use pool::{KvPool, Shortage};
pub use ruvllm_kernels::BLOCK_TOKENS;
pub use table::BlockTable;

/// Blocks that so many tokens need.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(BLOCK_TOKENS)
}
