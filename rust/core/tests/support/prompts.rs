//! Prompts of the engine's tests.

use ruvllm_core::ids::TokenId;

/// Tokens without a meaning, the same for the same salt; two prompts of one salt begin alike.
pub fn prompt(length: usize, salt: u32) -> Vec<TokenId> {
    (0..length as u32)
        .map(|index| 3 + (index * 37 + salt * 101) % 300)
        .collect()
}
