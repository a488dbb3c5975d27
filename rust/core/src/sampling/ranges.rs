//! Values that are out of range, refused by name.

use crate::{Error, Result};

/// Refuses a value that is not allowed: `name` is `value`, and must be `range`.
pub(super) fn check(name: &str, value: f32, allowed: bool, range: &str) -> Result<()> {
    if allowed {
        return Ok(());
    }
    Err(Error::Config(format!(
        "{name} is {value}; it must be {range}"
    )))
}
