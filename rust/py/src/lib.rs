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
mod json_shape;
mod kv_blocks;
mod learning;
mod micro_lora;
mod model;
mod packed_matrix;
#[cfg_attr(not(feature = "packs"), path = "no_packs.rs")]
mod packs;
mod peaks;
mod prefix;
mod prefix_file;
mod process_memory;
mod profile;
mod radix_tree;
mod requests;
mod row_kernels;
mod run;
mod safetensors_head;
mod sampling;
mod status;
mod system;
mod tokenizer;
mod training;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _native {
    use super::{Bound, PyAnyMethods, PyModule, PyModuleMethods, PyResult};

    #[pymodule_export]
    use super::adapter::{Adapter, AdapterPool};
    #[pymodule_export]
    use super::block_formats::{block_types, dequantize, quantize};
    #[pymodule_export]
    use super::engine::Engine;
    #[pymodule_export]
    use super::engine_memory::EngineMemory;
    #[pymodule_export]
    use super::events::{ArrayEvent, FailedEvent, FinishedEvent, ScoresEvent, TokenEvent};
    #[pymodule_export]
    use super::gguf_file::GgufFile;
    #[pymodule_export]
    use super::grammar::{Grammar, Grammars};
    #[pymodule_export]
    use super::json_shape::json_shape;
    #[pymodule_export]
    use super::kv_blocks::KvBlocks;
    #[pymodule_export]
    use super::learning::{Captured, Captures, HeadAdapter, HeadLearner};
    #[pymodule_export]
    use super::micro_lora::MicroLora;
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::packed_matrix::PackedMatrix;
    #[cfg(feature = "packs")]
    #[pymodule_export]
    use super::packs::{KernelPacks, PackKernel, PackSummary, public_key, sign};
    #[pymodule_export]
    use super::peaks::{InstructionPeak, Peaks, measure_peaks};
    #[pymodule_export]
    use super::prefix::{PoolStats, PrefixStats};
    #[pymodule_export]
    use super::prefix_file::PrefixSnapshot;
    #[pymodule_export]
    use super::process_memory::process_memory;
    #[pymodule_export]
    use super::profile::{Profile, PyOperationTime};
    #[pymodule_export]
    use super::radix_tree::{RadixMatch, RadixTree};
    #[pymodule_export]
    use super::row_kernels::{gate, rms_norm, rope, softmax};
    #[pymodule_export]
    use super::safetensors_head::safetensors_tensors;
    #[pymodule_export]
    use super::sampling::Sampling;
    #[pymodule_export]
    use super::status::{SequenceStatus, Status};
    #[pymodule_export]
    use super::system::System;
    #[pymodule_export]
    use super::tokenizer::{Tokenizer, Vocabulary};
    #[pymodule_export]
    use super::training::Training;

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
