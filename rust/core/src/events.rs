//! What a caller may see of a running engine, and the queue that carries it out.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::ids::{SequenceId, TokenId};
use crate::sampling::TokenLogprobs;

/// One thing that happened to a sequence.
#[derive(Debug, Clone)]
pub enum Event {
    /// A token was chosen; `text` is what became safe to show with it.
    Token {
        /// Whose.
        sequence: SequenceId,
        /// The token.
        token: TokenId,
        /// Whole characters that can no longer belong to a stop string.
        text: String,
        /// Log-probabilities, where they were asked for.
        logprobs: Option<TokenLogprobs>,
    },
    /// The sequence ended well; the last of its events.
    Finished {
        /// Whose.
        sequence: SequenceId,
        /// Why.
        reason: FinishReason,
        /// Text that was held back until the end.
        text: String,
        /// What it took.
        usage: Usage,
    },
    /// The result of an evaluation, before its `Finished`.
    Values {
        /// Whose.
        sequence: SequenceId,
        /// Logits `[tokens, vocab]`, scores `[tokens - 1]` or an embedding `[hidden]`.
        values: Vec<f32>,
    },
    /// The sequence could not go on; the last of its events.
    Failed {
        /// Whose.
        sequence: SequenceId,
        /// Why.
        error: Error,
    },
}

/// Why a sequence ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end-of-generation token or a stop string.
    Stop,
    /// As many tokens as were asked for, or as there is context.
    Length,
    /// The caller did not want more.
    Cancelled,
    /// An evaluation is complete.
    Done,
}

impl FinishReason {
    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

/// What a sequence took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Tokens of the prompt that were not computed, because a cache had them.
    pub cached_tokens: usize,
}

/// Events on their way from the engine's thread to whoever waits.
#[derive(Debug, Default)]
pub struct EventQueue {
    state: Mutex<QueueState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    closed: bool,
}

impl EventQueue {
    /// Adds an event.
    pub fn push(&self, event: Event) {
        self.lock().events.push_back(event);
        self.arrived.notify_one();
    }

    /// All events; waits for the first one up to `timeout`. Empty then, or when closed.
    pub fn wait(&self, timeout: Duration) -> Vec<Event> {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.events.is_empty() && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.events.drain(..).collect()
    }

    /// Wakes everyone who waits, for good.
    pub fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A panic while the lock was held cannot leave the queue half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> Event {
        Event::Values {
            sequence: SequenceId(sequence),
            values: vec![],
        }
    }

    #[test]
    fn events_come_out_in_order_and_wake_a_waiter() {
        let queue = EventQueue::default();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait(Duration::from_secs(20)));
            std::thread::sleep(Duration::from_millis(20));
            queue.push(event(1));
            assert_eq!(waiter.join().unwrap().len(), 1);
        });
        queue.push(event(2));
        queue.push(event(3));
        let order: Vec<_> = queue
            .wait(Duration::ZERO)
            .iter()
            .map(|event| format!("{event:?}"))
            .collect();
        assert!(
            order.len() == 2 && order[0].contains("SequenceId(2)"),
            "{order:?}"
        );
    }

    #[test]
    fn closing_ends_the_wait() {
        let queue = EventQueue::default();
        queue.close();
        assert!(queue.wait(Duration::from_mins(1)).is_empty());
    }
}
