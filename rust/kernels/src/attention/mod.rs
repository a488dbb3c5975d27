//! Attention over key-value blocks: grouped heads, causal, with windows and soft caps.
//!
//! The context of a query is cut into segments at fixed positions. Each segment has its own softmax
//! (maximum, sum, weighted values), and segments are joined in order. So a row comes out the same to
//! the bit whether one thread walks its whole context or many share it, alone or in a batch.

mod ahead;
pub(crate) mod arithmetic;
mod batch;
mod block_keys;
mod block_scores;
pub(crate) mod eighths;
pub(crate) mod flash;
pub(crate) mod join;
mod layout;
mod multiply;
pub(crate) mod packing;
pub(crate) mod plain;
mod rotation;
mod rows;
mod run;
mod scale;
pub(crate) mod scratch;
mod segment;
pub(crate) mod setting;
mod small_scale;
mod soften;
mod storage;
pub(crate) mod store;
mod store_batch;
mod stored;
mod task;
pub(crate) mod tile;
pub(crate) mod walk;

pub use batch::{AttentionBatch, AttentionBuffers, AttentionSequence, AttentionTier, attend_batch};
pub use block_keys::BlockKeys;
pub use layout::{BLOCK_TOKENS, KvFormat, KvLayout, SEGMENT_TOKENS, whole_block_bytes};
pub use plain::{KvSlot, load_kv, store_kv};
pub use rows::{QueryRows, RowsMut};
pub use run::{KvRows, KvRun};
pub use storage::{KvData, KvDataMut, KvStorage, KvView};
pub use store_batch::{KvTarget, store_batch};
pub use task::{AttentionShape, AttentionTask};
