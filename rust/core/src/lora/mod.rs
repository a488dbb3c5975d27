//! Low-rank adapters: what one adds to the linear maps of a decoder, ready to be computed with.

mod adapter;
mod numbers;

pub use adapter::{Adapter, AdapterBuilder, AdapterUse, Part, Site, SiteAdapter, are_same, key_of};
pub use numbers::Numbers;
