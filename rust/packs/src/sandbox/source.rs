//! What a module is made of.

use crate::verify::manifest::KernelEntry;

/// A kernel's bytes, whose hash was checked.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) entry: KernelEntry,
    pub(crate) bytes: Vec<u8>,
}
