//! Bytes that came from outside, read into checked descriptions.
//!
//! Every count, length, offset and type of a file is treated as a claim: it is compared with the
//! bytes that are there before anything is allocated, sliced or multiplied with it. A hostile file
//! gives a [`FormatError`] that names what is wrong; it never panics and never makes this crate
//! allocate more than a small multiple of the bytes that were really read. Called by `ruvllm-core`.

mod cursor;
mod error;
pub mod gguf;
mod json;
mod mapping;
mod model_files;
pub mod safetensors;
mod strings;
mod tensor;
mod tensor_type;

pub use error::FormatError;
pub use gguf::{Metadata, Value};
pub use model_files::{FileKind, ModelFiles};
pub use strings::Strings;
pub use tensor::TensorInfo;
pub use tensor_type::TensorType;
