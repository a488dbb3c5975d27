//! Bytes that came from outside, read into checked descriptions.
//!
//! Every count, length, offset and type of a file is treated as a claim: it is compared with the
//! bytes that are there before anything is allocated, sliced or multiplied with it. A hostile file
//! gives a [`FormatError`] that names what is wrong; it never panics, and what is kept of it is
//! charged to a budget of memory before it is allocated (`budget.rs`). Called by `ruvllm-core`.

mod budget;
mod cursor;
mod error;
mod fingerprint;
pub mod gguf;
mod image;
mod json;
mod json_shape;
mod mapping;
mod model_files;
pub mod safetensors;
mod shards;
mod splits;
mod strings;
mod tensor;
mod tensor_type;

pub use error::FormatError;
pub use gguf::{Metadata, Value};
pub use image::{ImageMark, ImagePiece, ImageWriter, PackedImage};
pub use json_shape::JsonShape;
pub use model_files::{FileKind, ModelFiles};
pub use strings::Strings;
pub use tensor::TensorInfo;
pub use tensor_type::TensorType;
