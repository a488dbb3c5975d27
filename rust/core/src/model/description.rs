//! What a loaded model says of itself.

use super::image::ImageUse;

/// What a user wants to know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDescription {
    /// The tensor type that holds most weights.
    pub quantization: String,
    /// Whether that type is f32.
    pub is_single_precision: bool,
    /// Weights in all.
    pub num_parameters: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Bytes of the packed weights in memory.
    pub weight_bytes: u64,
    /// The image of them in a file, if any.
    pub image: ImageUse,
    /// The chat template of GGUF metadata.
    pub chat_template: Option<String>,
}
