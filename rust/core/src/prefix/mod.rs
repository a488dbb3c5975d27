//! What was computed once is not computed again: token prefixes and the blocks that hold their keys
//! and values.
//!
//! [`radix_tree`] is the tree alone, over any value; [`cache`] is the engine's use of it, with keys,
//! budgets and counters; [`file`] keeps it over a restart. Sliding-window layers need no rule of their
//! own: blocks hold every position of every layer, so whatever matches is whole.

pub mod cache;
mod edge;
pub mod file;
pub mod radix_tree;
pub mod stats;

pub use cache::{Lookup, Namespace, PrefixCache, PrefixLimits};
pub use stats::{MissReason, PrefixStats};
