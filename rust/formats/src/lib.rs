//! Bytes that came from outside, read into checked descriptions.
//!
//! Every count, length, offset and type of a file is treated as a claim: it is compared with the
//! bytes that are there before anything is allocated, sliced or multiplied with it. A hostile file
//! gives a [`FormatError`] that names what is wrong; it never panics and never makes this crate
//! allocate more than a small multiple of the bytes that were really read. Called by `ruvllm-core`.
