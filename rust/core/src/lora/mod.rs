//! Low-rank adapters: what one adds to the linear maps of a decoder, ready to be computed with; and small ones that learn.

mod adapter;
mod micro;
mod micro_ewc;
mod micro_map;
mod micro_place;
mod numbers;
mod pool;
mod ready;
mod uses;

pub use adapter::{Adapter, AdapterBuilder, Part, PlacedPart, Site, SiteAdapter};
pub use micro::{MicroFeedback, MicroLora, MicroSettings, MicroStats};
pub use micro_ewc::EwcTerm;
pub use micro_map::{Halves, MAX_RANK, MicroMap};
pub use numbers::{Matrix, Values};
pub use pool::{AdapterPool, ReadyAdapter};
pub use ready::AdapterPoolStats;
pub use uses::{AdapterUse, are_same, key_of};
