//! The families that this engine knows, each filled from a file's metadata.
