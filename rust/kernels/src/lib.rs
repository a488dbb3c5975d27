//! Numbers in, numbers out: what a forward pass computes, on this machine's instruction sets.
//!
//! Knows no model, no file and no Python. This is the one crate of the workspace in which `unsafe`
//! is free (SIMD, threads); each block states why it is sound.
#![allow(
    unsafe_code,
    reason = "SIMD loads and stores, and rows shared between threads"
)]
#![allow(
    clippy::inline_always,
    reason = "an algorithm over lanes becomes vector code only inside the function that has the features"
)]
#![allow(clippy::wildcard_imports, reason = "intrinsics, under their own names")]
#![allow(
    clippy::cast_ptr_alignment,
    reason = "four activation bytes at a time, read unaligned"
)]

mod aligned;
mod attention;
mod cpu;
mod dispatch;
mod kernels;
mod kv_groups;
mod lora;
mod matmul;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod native;
mod ops;
mod peaks;
mod plain;
mod process_memory;
pub mod quant;
mod read_ahead;
mod simd;
mod threads;
mod topology;
mod weights;

pub use aligned::Arena;
pub use attention::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, AttentionTask,
    AttentionTier, BLOCK_TOKENS, BlockKeys, KvData, KvDataMut, KvFormat, KvLayout, KvRows, KvRun,
    KvSlot, KvStorage, KvTarget, KvView, QueryRows, RowsMut, SEGMENT_TOKENS, attend_batch, load_kv,
    store_batch, store_kv, whole_block_bytes,
};
pub use cpu::{ThreadChoice, cpu_features, thread_choice};
pub use dispatch::{available, best, named};
pub use kernels::{Kernels, Scalar};
pub use kv_groups::{GROUP_VALUES, GroupAxis, GroupBits, KvGroups};
pub use lora::{
    LORA_PANEL, LoraAdapter, LoraMatrices, LoraNumbers, LoraNumbersMut, LoraStorage, Meeting,
    RowDelta,
};
pub use matmul::{
    Activations, Epilogue, FloatProduct, FloatRows, Grid, OutputRows, OutputTile, Product,
    QuantizedRowMut, QuantizedRows, QuantizedRowsMut, RowPrecision, TileRange, TransposedBuffers,
    TransposedProduct, WordRowMut, WordRows, add_product, add_transposed, multiply, takes_words,
};
pub use peaks::{InstructionPeak, Operands, Peaks};
pub use plain::WEIGHT_BLOCK;
pub use process_memory::process_memory;
pub use read_ahead::ReadAhead;
pub use threads::ThreadPool;
pub use weights::{
    BLOCK_INPUTS, Elements, PackedBefore, PackedMatrix, PackingError, QuantLayout, SharedBytes,
    TILE_ROWS, WeightSource,
};

/// The non-linearity of a gated feed-forward half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`
    Silu,
    /// GELU by its tanh approximation.
    GeluTanh,
}
