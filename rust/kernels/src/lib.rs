//! Numbers in, numbers out: what a forward pass computes, on this machine's instruction sets.
//!
//! Knows no model, no file and no Python. This is the one crate of the workspace in which `unsafe`
//! is free (SIMD, threads); each block states why it is sound.
#![allow(unsafe_code, reason = "SIMD loads and stores, and rows shared between threads")]

pub mod quant;
