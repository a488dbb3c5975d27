//! Numbers in, numbers out: what a forward pass computes, on this machine's instruction sets.
//!
//! Knows no model, no file and no Python. This is the one crate of the workspace in which `unsafe`
//! is free (SIMD, threads); each block states why it is sound.
#![allow(unsafe_code, reason = "SIMD loads and stores, and rows shared between threads")]

pub mod quant;

/// The non-linearity of a gated feed-forward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// GELU by its tanh approximation.
    GeluTanh,
}
