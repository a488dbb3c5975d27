//! What the tests of files share: builders, the corpus, and an allocator that counts; and the tests
//! of honest files and of honest files that chance has changed.

pub(crate) mod allocator;
pub(crate) mod build;
pub(crate) mod folder_cases;
pub(crate) mod gguf_cases;
mod honest;
mod properties;
pub(crate) mod safetensors_cases;

use std::path::{Path, PathBuf};

/// A broken model: what is wrong, how to make it in an empty folder, and words that the error must
/// have.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) build: fn(&Path) -> PathBuf,
    pub(crate) words: &'static [&'static str],
}

pub(crate) const fn case(
    name: &'static str,
    words: &'static [&'static str],
    build: fn(&Path) -> PathBuf,
) -> Case {
    Case { name, build, words }
}
