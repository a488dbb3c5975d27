//! Which models candle computes as their files say, and how each is told to it.
//!
//! `fit` asks of the checked description alone, before a weight is read. Nothing is passed over: a feature that one of
//! candle's models does not have, or has otherwise, is refused by name, or bounds the context to where it makes no
//! difference.

mod folder;
mod gguf;
mod refusals;

use candle_core::Device;
use ruvllm_core::Result;
use ruvllm_core::model::spec::ModelSpec;
use ruvllm_formats::{FileKind, ModelFiles};

use crate::network::Network;

/// That a model fits, and how far.
pub(crate) struct Fit {
    /// The most tokens for which candle computes what the model says, and why.
    pub(crate) limit: Option<(usize, String)>,
}

/// Whether candle computes what these files say.
pub(crate) fn fit(files: &ModelFiles, spec: &ModelSpec) -> Result<Fit> {
    match files.kind() {
        FileKind::Gguf => gguf::fit(files, spec),
        FileKind::SafeTensors => folder::fit(files, spec),
    }
}

/// The model with its weights, for so many tokens, and the bytes of these; 0 where nobody counts them.
pub(crate) fn load(
    files: &ModelFiles,
    spec: &ModelSpec,
    max_context: usize,
    device: &Device,
) -> Result<(Box<dyn Network>, u64)> {
    match files.kind() {
        FileKind::Gguf => Ok((gguf::load(files, spec, max_context, device)?, 0)),
        FileKind::SafeTensors => folder::load(files, spec, max_context, device),
    }
}
