//! Whether a pack is what its author signed, and fits here, before any of it runs.
//!
//! A folder is read once ([`files`]); the signature is over the manifest's bytes ([`signature`]), the manifest is read
//! strictly ([`manifest`]) and names the hash of everything else and what it fits ([`compatibility`]).

pub(crate) mod compatibility;
pub(crate) mod files;
pub(crate) mod manifest;
mod manifest_check;
pub(crate) mod signature;
mod strict_map;
