//! The one gate into the core: releases the interpreter, polls signals, stops panics.
//!
//! Everything that takes longer than reading a field goes through [`run`]. What waits goes through
//! [`wait`], and what reports progress through [`run_with_progress`], so that Ctrl-C works in both.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use ruvllm_core::{Error, Result};

use crate::errors::exception;

/// How long a signal may go unnoticed.
const SIGNAL_POLL: Duration = Duration::from_millis(50);

/// An engine, or what is of one; an error once a panic has left it half changed.
pub(crate) fn lock<T>(engine: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    engine.lock().map_err(|_| {
        Error::Backend("the engine had a fault before and cannot go on; load it anew".to_owned())
    })
}

/// Runs `work` without the interpreter; errors and panics become exceptions.
pub(crate) fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| stop_panic(work))
        .map_err(|error| exception(&error))
}

/// Calls `take` with slices of `timeout` until it gives something or the time is up.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    timeout: Duration,
    take: impl Fn(Duration) -> Option<T> + Sync,
) -> PyResult<Option<T>> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map_or(SIGNAL_POLL, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        let taken = run(py, || Ok(take(left.min(SIGNAL_POLL))))?;
        if taken.is_some() || left <= SIGNAL_POLL && deadline.is_some() {
            return Ok(taken);
        }
        py.check_signals()?;
    }
}

/// Like [`run`], for work that tells how far it is; `callback` hears of each percent once.
pub(crate) fn run_with_progress<T: Send>(
    py: Python<'_>,
    callback: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn FnMut(u64, u64) -> Result<()>) -> Result<T> + Send,
) -> PyResult<T> {
    let mut progress = Progress {
        callback,
        reported: None,
        polled: Instant::now(),
        raised: None,
    };
    let outcome = run(py, || work(&mut |done, total| progress.report(done, total)));
    match progress.raised {
        Some(error) => Err(error),
        None => outcome,
    }
}

struct Progress {
    callback: Option<Py<PyAny>>,
    /// The percent that was last told.
    reported: Option<u64>,
    polled: Instant,
    /// What the callback or a signal handler raised.
    raised: Option<PyErr>,
}

impl Progress {
    fn report(&mut self, done: u64, total: u64) -> Result<()> {
        let percent = Some(done.saturating_mul(100) / total.max(1));
        let is_news = self.callback.is_some() && percent > self.reported;
        if !is_news && self.polled.elapsed() < SIGNAL_POLL {
            return Ok(());
        }
        self.polled = Instant::now();
        let told = Python::attach(|py| {
            py.check_signals()?;
            match &self.callback {
                Some(callback) if is_news => callback.call1(py, (done, total)).map(drop),
                _ => Ok(()),
            }
        });
        self.reported = self.reported.max(percent);
        told.map_err(|error| {
            self.raised = Some(error);
            Error::InvalidOperation("the caller stopped it".to_owned())
        })
    }
}

fn stop_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        Err(Error::Backend(format!(
            "a fault of the engine itself, please report it: {}",
            panic_text(&*payload)
        )))
    })
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
