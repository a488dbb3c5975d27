//! What a loaded model says of itself, besides its header.

use super::image::ImageUse;

/// What a user wants to know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDescription {
    /// Bytes of the packed weights in memory.
    pub weight_bytes: u64,
    /// The image of them in a file, if any.
    pub image: ImageUse,
    /// The chat template of GGUF metadata.
    pub chat_template: Option<String>,
}
