//! A clock that ends a request in the middle of a step.

use std::sync::atomic::{AtomicU64, Ordering};

use ruvllm_core::cancel::CancelFlag;
use ruvllm_core::clock::Clock;

/// Cancels when the profile has looked at it so often: a place in a forward pass that a test can choose.
#[derive(Debug)]
pub struct CancellingClock {
    looks: AtomicU64,
    cancel_at: u64,
    cancel: CancelFlag,
}

impl CancellingClock {
    pub fn new(cancel_at: u64, cancel: CancelFlag) -> Self {
        Self {
            looks: AtomicU64::new(0),
            cancel_at,
            cancel,
        }
    }
}

impl Clock for CancellingClock {
    fn nanoseconds(&self) -> u64 {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        if looks == self.cancel_at {
            self.cancel.cancel();
        }
        looks
    }
}
