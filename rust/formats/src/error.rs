//! What is wrong with a file: what, where, and what was allowed.

use std::path::{Path, PathBuf};

const LONGEST_QUOTE: usize = 80;
const LONGEST_WORDS: usize = 240;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The system refused to open, map or read.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The file ends before what it announces.
    #[error("{what} at byte {offset} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: String,
        /// Where.
        offset: usize,
        /// How many bytes it needs.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// A value that the format does not allow.
    #[error("{what} at byte {offset}: {problem}")]
    Invalid {
        /// What was being read.
        what: String,
        /// Where.
        offset: usize,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A tensor whose description cannot be true.
    #[error("tensor '{name}': {problem}")]
    Tensor {
        /// Its name, shortened where it is long.
        name: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A JSON file that cannot be used.
    #[error("{}: {problem}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The path holds no model, or its parts do not belong together.
    #[error("{}: {problem}", path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What is missing or wrong, and what is expected.
        problem: String,
    },
}

impl FormatError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    pub(crate) fn invalid(
        what: impl Into<String>,
        offset: usize,
        problem: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            what: what.into(),
            offset,
            problem: problem.into(),
        }
    }

    /// A problem of a tensor.
    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> Self {
        Self::Tensor {
            name: quoted(name),
            problem: problem.into(),
        }
    }

    pub(crate) fn json(path: &Path, problem: impl Into<String>) -> Self {
        Self::Json {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn not_a_model(path: &Path, problem: impl Into<String>) -> Self {
        Self::NotAModel {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A name or value of a file as it may stand in a message: short, and without characters that a
/// terminal would obey.
pub(crate) fn quoted(text: &str) -> String {
    shortened(text, LONGEST_QUOTE)
}

/// What a JSON reader says; it quotes the file.
pub(crate) fn reader_words(error: &serde_json::Error) -> String {
    shortened(&error.to_string(), LONGEST_WORDS)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == longest {
            shown.push('…');
            break;
        }
        match character {
            '\'' | '"' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}
