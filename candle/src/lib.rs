//! `ruvllm_candle._candle`: models on candle, whose logits become answers by this project's own samplers.
//!
//! ```text
//! files ─ ruvllm_formats ─▶ ModelSpec ─ families ─▶ candle's model ─ Network ─▶ logits ─ ruvllm_core::Answer ─▶ tokens
//! ```
//!
//! What candle is told of a model is what the checked header says, and what it computes otherwise than that is
//! refused by name. Small things that cross into Python do so as in `rust/py`: by the very same files.
//!
//! Nothing in here keeps a prompt, knows a queue or reads a text: `python/ruvllm` does.
#![allow(
    clippy::needless_pass_by_value,
    reason = "arguments that come out of Python are made for the call"
)]

mod answer;
mod device;
mod failure;
mod families;
mod grounds;
mod model;
mod network;
mod weights;

#[allow(dead_code, reason = "the other half of these files is the engine's")]
#[path = "../../rust/py/src/convert.rs"]
mod convert;
#[path = "../../rust/py/src/errors.rs"]
mod errors;
#[path = "../../rust/py/src/grammar.rs"]
mod grammar;
#[allow(dead_code, reason = "the other half of these files is the engine's")]
#[path = "../../rust/py/src/run.rs"]
mod run;
#[path = "../../rust/py/src/sampling.rs"]
mod sampling;
#[path = "../../rust/py/src/tokenizer.rs"]
mod tokenizer;

/// The extension.
#[pyo3::pymodule]
mod _candle {
    #[pymodule_export]
    use crate::answer::Answer;
    #[pymodule_export]
    use crate::device::{devices, fix_threads};
    #[pymodule_export]
    use crate::grammar::{Grammar, Grammars};
    #[pymodule_export]
    use crate::grounds::Ground;
    #[pymodule_export]
    use crate::model::{Model, Opened};
    #[pymodule_export]
    use crate::tokenizer::{Tokenizer, Vocabulary};
}
