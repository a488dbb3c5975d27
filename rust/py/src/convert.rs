//! Small values out of Python: token ids, names of choices, seeds, seconds.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::{Error, Result};

use crate::errors::exception;

/// Token ids; a number that cannot be one is a `TokenizationError`.
pub(crate) struct Tokens(pub(crate) Vec<TokenId>);

impl<'py> FromPyObject<'_, 'py> for Tokens {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).map_err(|error: PyErr| {
            if error.is_instance_of::<PyOverflowError>(object.py()) {
                exception(&Error::Tokenization(format!(
                    "a token id is outside 0 to {}",
                    TokenId::MAX
                )))
            } else {
                error
            }
        })
    }
}

/// The value of that name in a table of choices.
pub(crate) fn choice<T: Clone>(setting: &str, name: &str, table: &[(&str, T)]) -> Result<T> {
    match table.iter().find(|(known, _)| *known == name) {
        Some((_, value)) => Ok(value.clone()),
        None => Err(not_a_choice(
            setting,
            name,
            table.iter().map(|(known, _)| *known),
        )),
    }
}

/// The error for a name that is none of those known.
pub(crate) fn not_a_choice<'a>(
    setting: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Error {
    let known: Vec<&str> = known.collect();
    Error::Config(format!(
        "{setting} is '{name}'; allowed here: {}",
        known.join(", ")
    ))
}

/// A seed that nobody chose.
pub(crate) fn random_seed() -> u64 {
    // Each of these has keys of its own, which begin at the system's random numbers.
    RandomState::new().build_hasher().finish()
}

/// A time to wait; one that is too long to count is for ever.
pub(crate) fn seconds(name: &str, value: f64) -> Result<Duration> {
    if value >= 0.0 {
        return Ok(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX));
    }
    Err(Error::Config(format!(
        "{name} is {value} seconds; it must be 0 or more"
    )))
}
