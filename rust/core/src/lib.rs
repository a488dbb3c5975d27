//! The runtime: model files in, events out. No unsafe code, no Python, no network.
//!
//! ```text
//! files ─ model::loader ─▶ Model ┐
//! Request ─▶ Engine.add          ├─ Engine.advance(plan) ─▶ Batch ─▶ Model.forward ─▶ sampling ─▶ events
//! kv::KvPool, prefix::PrefixCache ┘
//! ```
//!
//! Modules, low to high; a module may use only those before it:
//! `ids`, `error`, `cancel`, `clock`, `profile` → `grammar`, `memory`, `sampling`, `speculation`, `text` → `kv`, `lora` → `learning` → `prefix` → `batch` → `model`, `quantize` → `replay` → `sequence`, `events` → `engine`, `training`.

pub mod batch;
pub mod cancel;
pub mod clock;
pub mod engine;
pub mod error;
pub mod events;
pub mod grammar;
pub mod ids;
pub mod kv;
pub mod learning;
pub mod lora;
pub mod memory;
pub mod model;
pub mod prefix;
pub mod profile;
pub mod quantize;
pub mod replay;
pub mod sampling;
pub mod sequence;
pub mod speculation;
pub mod text;
pub mod training;

pub use error::{Error, Result};
