//! Low-rank adapters: what they add to a product, in two halves. `A x` is computed where the rows are at hand, for all
//! matrices that share them; `B` times that is added where a thread has just written a tile of the product.

mod apply;
mod deltas;
mod numbers;
pub(crate) mod rows;
mod storage;

pub(crate) use apply::delta;
pub use apply::{LoraAdapter, LoraMatrices};
pub use deltas::{Meeting, RowDelta};
pub use numbers::{LORA_PANEL, LoraNumbers, LoraNumbersMut};
pub use storage::LoraStorage;
