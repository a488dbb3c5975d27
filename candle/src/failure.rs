//! What candle says went wrong, as an error of ours; a panic inside it is one too.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use candle_core::Error as CandleError;
use ruvllm_core::Error;

/// An error while it computes.
pub(crate) fn computing(error: &CandleError) -> Error {
    Error::Backend(format!("candle: {}", first_line(&error.to_string())))
}

/// An error while it takes a model in.
pub(crate) fn loading(error: &CandleError) -> Error {
    Error::Model(format!(
        "candle cannot load the model: {}",
        first_line(&error.to_string())
    ))
}

/// What candle does, with its panics among its errors: some of its models unwrap what they find in files.
pub(crate) fn caught<T>(work: impl FnOnce() -> candle_core::Result<T>) -> candle_core::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(CandleError::Msg(panic_text(&*payload).to_owned())))
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// What follows is where in its program it was.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
