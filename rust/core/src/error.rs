//! The documented errors, one variant each; the message says what, where and what to do.

/// What went wrong; `Display` is the documented `"<prefix>: <what>"`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Keeping or reading the runtime's own stored state failed.
    #[error("Storage error: {0}")]
    Storage(String),
    /// A session was used in a way its state does not allow.
    #[error("Session error: {0}")]
    Session(String),
    /// The key-value cache cannot hold or give what was asked.
    #[error("KV cache error: {0}")]
    KvCache(String),
    /// A block table does not fit the attention call.
    #[error("Paged attention error: {0}")]
    PagedAttention(String),
    /// An adapter does not fit, or does not load.
    #[error("Adapter error: {0}")]
    Adapter(String),
    /// Learning was asked for something it cannot do.
    #[error("SONA error: {0}")]
    Sona(String),
    /// A setting is outside its range.
    #[error("Configuration error: {0}")]
    Config(String),
    /// A budget in bytes is used up and nothing can be evicted.
    #[error("Out of memory: {0}")]
    OutOfMemory(String),
    /// The call does not fit the state of the object.
    #[error("Invalid operation: {0}")]
    InvalidOperation(String),
    /// A named thing does not exist.
    #[error("Not found: {0}")]
    NotFound(String),
    /// A backend or device is missing or failed.
    #[error("Backend error: {0}")]
    Backend(String),
    /// A model file is broken, incomplete or of an unknown kind.
    #[error("Model error: {0}")]
    Model(String),
    /// Text and tokens cannot be turned into each other.
    #[error("Tokenization error: {0}")]
    Tokenization(String),
    /// A grammar cannot be honoured; `pointer` is the place in a JSON schema.
    #[error("Grammar error: {message}")]
    Grammar {
        /// A JSON pointer; empty for the whole.
        pointer: String,
        /// What is wrong there.
        message: String,
    },
    /// Generation could not go on.
    #[error("Generation error: {0}")]
    Generation(String),
    /// The operating system refused a file operation.
    #[error("IO error: {message}")]
    Io {
        /// What kind of failure, so that callers can tell a missing file from a forbidden one.
        kind: std::io::ErrorKind,
        /// The operation, the path and the system's words.
        message: String,
    },
}

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl From<ruvllm_formats::FormatError> for Error {
    fn from(error: ruvllm_formats::FormatError) -> Self {
        match &error {
            ruvllm_formats::FormatError::Io { source, .. } => Self::Io {
                kind: source.kind(),
                message: error.to_string(),
            },
            _ => Self::Model(error.to_string()),
        }
    }
}

impl Error {
    /// The error of a grammar, at a place of its schema.
    pub(crate) fn grammar(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Grammar {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

/// Refuses what is not whole rows of at least one element.
pub fn whole_rows(name: &str, elements: usize, columns: usize) -> Result<()> {
    if columns > 0 && elements.is_multiple_of(columns) {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{name} has {elements} elements, which are not rows of {columns}"
    )))
}
