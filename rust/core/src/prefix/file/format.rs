//! What a file of prefixes begins with, and what is said of one that is none.

use crate::error::Error;

pub(super) const MAGIC: &[u8; 8] = b"RUVLLMKV";
pub(super) const VERSION: u32 = 4;
/// The parent of a node that stands under its namespace's root.
pub(super) const NO_PARENT: u32 = u32::MAX;

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
