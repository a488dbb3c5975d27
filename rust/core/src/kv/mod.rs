//! Keys and values in blocks of [`BLOCK_TOKENS`] tokens, held by reference.

mod block;
mod pool;

pub use block::{BlockRef, CachedBlock, KvBlock};
pub use pool::{KvPool, Shortage, block_table};
pub use ruvllm_kernels::BLOCK_TOKENS;

/// Blocks that so many tokens need.
pub fn blocks_for(tokens: usize) -> usize {
    tokens.div_ceil(BLOCK_TOKENS)
}
