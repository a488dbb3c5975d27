//! Low-rank adapters: what one adds to the linear maps of a decoder, ready to be computed with.

mod adapter;
mod numbers;
mod pool;
mod uses;

pub use adapter::{Adapter, AdapterBuilder, Part, Site, SiteAdapter};
pub use numbers::Numbers;
pub use pool::{AdapterPool, AdapterPoolStats, ReadyAdapter};
pub use uses::{AdapterUse, are_same, key_of};
