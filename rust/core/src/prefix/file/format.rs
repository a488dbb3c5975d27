//! What a file of prefixes begins with, and what is said of one that is none.

use crate::error::Error;
use crate::kv::KvPool;

pub(super) const MAGIC: &[u8; 8] = b"RUVLLMKV";
pub(super) const VERSION: u32 = 6;
/// Stands for a block that is not there: windows had passed it.
pub(super) const NO_BLOCK: u32 = u32::MAX;
/// The parent of a node that stands under its namespace's root.
pub(super) const NO_PARENT: u32 = u32::MAX;

/// What blocks look like, and which layers share them.
pub(super) fn layout_of(pool: &KvPool) -> String {
    pool.groups().to_string()
}

pub(super) fn broken(problem: &str) -> Error {
    Error::Storage(format!(
        "this file cannot be used as a prefix cache: {problem}"
    ))
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub(super) fn io(error: std::io::Error) -> Error {
    Error::Io {
        kind: error.kind(),
        message: format!("the file of a prefix cache: {error}"),
    }
}
