//! One table: each of the core's errors, and the class in `ruvllm.errors` that Python sees.
//!
//! The classes are made in Python, because most of them are also built-in errors (`ModelError` is a
//! `ValueError`), and a class made here could have one base only.

use pyo3::{PyErr, import_exception};
use ruvllm_core::Error;

import_exception!(ruvllm.errors, GrammarError);

macro_rules! exceptions {
    ($($variant:ident => $class:ident,)*) => {
        $(import_exception!(ruvllm.errors, $class);)*

        /// The exception of an error; its message is the error's text.
        pub(crate) fn exception(error: &Error) -> PyErr {
            let message = error.to_string();
            match error {
                Error::Grammar { pointer, .. } => GrammarError::new_err((message, pointer.clone())),
                $(Error::$variant { .. } => $class::new_err(message),)*
            }
        }
    };
}

exceptions! {
    Storage => StorageError,
    Session => SessionError,
    KvCache => KvCacheError,
    PagedAttention => PagedAttentionError,
    Adapter => AdapterError,
    Sona => SonaError,
    Config => ConfigError,
    OutOfMemory => OutOfMemoryError,
    InvalidOperation => InvalidOperationError,
    NotFound => NotFoundError,
    Backend => BackendError,
    Model => ModelError,
    Tokenization => TokenizationError,
    Generation => GenerationError,
    Io => IoError,
}
