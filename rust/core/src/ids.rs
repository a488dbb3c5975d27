//! The words that every module of the runtime shares: ids as types, and nothing else.

/// One entry of a model's vocabulary.
pub type TokenId = u32;

/// One request inside an engine; never used again after the sequence is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// One block of the key-value pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);
