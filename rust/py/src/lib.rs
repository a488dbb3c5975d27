//! `ruvllm._native`: translation between Python and the core; no logic lives here.
//!
//! A method takes its arguments, makes one call into the core through [`run`], and wraps what comes
//! back. `python/ruvllm/_native.pyi` is the contract; the public faces stand in Python.
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments that come out of Python are made for the call"
)]

mod adapter;
mod arrays;
mod block_formats;
mod convert;
mod engine;
mod engine_memory;
mod errors;
mod events;
mod gguf_file;
mod grammar;
mod kv_blocks;
mod learning;
mod logits_processor;
mod micro_lora;
mod model;
mod model_header;
mod outside_bytes;
mod packed_matrix;
#[cfg_attr(not(feature = "packs"), path = "no_packs.rs")]
mod packs;
mod peaks;
mod prefix;
mod prefix_file;
mod profile;
mod radix_tree;
mod replay;
mod requests;
mod row_kernels;
mod run;
mod sampling;
mod status;
mod system;
mod tokenizer;
mod training;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use super::{Bound, PyAnyMethods, PyModule, PyModuleMethods, PyResult};

    #[cfg(feature = "packs")]
    #[pymodule_export]
    use super::packs::{KernelPacks, PackKernel, PackSummary, public_key, sign};
    #[pymodule_export]
    use super::{
        adapter::{Adapter, AdapterPool},
        block_formats::{block_types, dequantize, quantize},
        engine::Engine,
        engine_memory::EngineMemory,
        events::{ArrayEvent, FailedEvent, FinishedEvent, ScoresEvent, TokenEvent},
        gguf_file::{GgufFile, quantize_model},
        grammar::{Grammar, Grammars},
        kv_blocks::KvBlocks,
        learning::{Captured, Captures, HeadAdapter, HeadLearner},
        micro_lora::MicroLora,
        model::Model,
        model_header::ModelHeader,
        outside_bytes::{json_shape, safetensors_tensors},
        packed_matrix::PackedMatrix,
        peaks::{InstructionPeak, Peaks, measure_peaks},
        prefix::{PoolStats, PrefixStats},
        prefix_file::PrefixSnapshot,
        profile::{Profile, PyOperationTime},
        radix_tree::{RadixMatch, RadixTree},
        replay::Tape,
        row_kernels::{gate, rms_norm, rope, softmax},
        status::{SequenceStatus, Status},
        system::{System, process_memory},
        tokenizer::{Tokenizer, Vocabulary},
        training::Training,
    };

    /// Adds the union that `events` gives; what there is, the stub says, and not a second list.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        let ended = py
            .get_type::<FinishedEvent>()
            .bitor(py.get_type::<ArrayEvent>())?
            .bitor(py.get_type::<ScoresEvent>())?
            .bitor(py.get_type::<FailedEvent>())?;
        module.add("Event", py.get_type::<TokenEvent>().bitor(ended)?)?;
        module.delattr("__all__")
    }
}
