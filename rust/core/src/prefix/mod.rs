//! What was computed once is not computed again: token prefixes and the blocks that hold their keys
//! and values.
//!
//! [`radix_tree`] is the tree alone, over any value; [`cache`] is the engine's use of it, with keys,
//! budgets and counters; [`file`] keeps it over a restart; [`windows`] has the rules of layers with a window.

pub mod cache;
mod edge;
pub mod file;
mod namespace;
pub mod radix_tree;
mod remembered;
pub mod stats;
mod windows;

pub use cache::{Lookup, PrefixCache, PrefixLimits};
pub use namespace::Namespace;
pub use stats::{MissReason, PrefixStats};
pub use windows::Known;
