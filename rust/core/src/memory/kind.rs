//! What pages are for: it says how readily they go.

/// What pages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Keys and values.
    Kv,
    /// Weights of adapters.
    Adapter,
    /// What a computation needs for a while.
    Scratch,
}
