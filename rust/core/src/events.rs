//! What a caller may see of a running engine, and the queue that carries it out.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::Error;
use crate::ids::{SequenceId, TokenId};
use crate::prefix::MissReason;
use crate::sampling::TokenLogprobs;
use crate::speculation::DraftCounts;

/// What of a request ended its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedAt {
    /// Its stop string of this index.
    Text(usize),
    /// One of its stop tokens.
    Token(TokenId),
}

impl StoppedAt {
    /// The index of the stop string, or the token.
    pub fn parts(self) -> (Option<usize>, Option<TokenId>) {
        match self {
            Self::Text(index) => (Some(index), None),
            Self::Token(token) => (None, Some(token)),
        }
    }
}

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
        /// At what the request named it stopped.
        stopped_at: Option<StoppedAt>,
        /// Text that was held back until the end.
        text: String,
        /// What it took.
        usage: Usage,
    },
    /// The result of an evaluation, before its `Finished`.
    Values {
        /// Whose.
        sequence: SequenceId,
        /// Logits `[tokens, vocab]` or an embedding `[hidden]`.
        values: Vec<f32>,
    },
    /// The result of scoring, before its `Finished`.
    Scores {
        /// Whose.
        sequence: SequenceId,
        /// Every token but the first, and how likely it is.
        scores: Vec<(TokenId, TokenLogprobs)>,
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
    /// Why there are none of these; `None` where there are, or where none were looked for.
    pub cache_miss: Option<MissReason>,
    /// Guesses of the answer's tokens that were computed, and those that came true.
    pub drafts: DraftCounts,
}

/// While tokens come faster than this they are handed out together: waking a reader for each of them
/// would take a core from the threads that compute.
const TOKEN_PAUSE: Duration = Duration::from_millis(5);

/// Events on their way from the engine's thread to whoever waits; one thread at a time.
#[derive(Debug, Default)]
pub struct EventQueue {
    state: Mutex<QueueState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    closed: bool,
    wakes: Wakes,
    /// When events were last handed out, by the clock of whoever waited.
    taken: Option<u64>,
}

/// What wakes the thread that waits.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wakes {
    #[default]
    Nothing,
    /// Whatever is not a token.
    Urgent,
    Anything,
}

impl EventQueue {
    /// Adds an event.
    pub fn push(&self, event: Event) {
        let mut state = self.lock();
        let is_awaited = match state.wakes {
            Wakes::Nothing => false,
            Wakes::Urgent => !matches!(event, Event::Token { .. }),
            Wakes::Anything => true,
        };
        state.events.push_back(event);
        drop(state);
        if is_awaited {
            self.arrived.notify_one();
        }
    }

    /// All events that are there.
    pub fn take(&self) -> Vec<Event> {
        self.lock().events.drain(..).collect()
    }

    /// All events; waits for the first one until the deadline, which is by the same clock each time. Empty
    /// then, or when closed. Tokens that follow upon others within [`TOKEN_PAUSE`] wait until it is over,
    /// or until something else comes.
    pub fn wait(&self, deadline: Deadline<'_>) -> Vec<Event> {
        let mut state = self.wait_until(self.lock(), deadline, Wakes::Anything, |state| {
            !state.events.is_empty()
        });
        if let Some(taken) = state.taken {
            let pause = deadline.moved(taken, TOKEN_PAUSE);
            state = self.wait_until(state, pause, Wakes::Urgent, |state| {
                let is_token = |event: &Event| matches!(event, Event::Token { .. });
                !state.events.iter().all(is_token)
            });
        }
        if !state.events.is_empty() {
            state.taken = Some(deadline.now());
        }
        state.events.drain(..).collect()
    }

    /// Waits until something is so, the queue is closed or the time is over.
    fn wait_until<'a>(
        &self,
        mut state: MutexGuard<'a, QueueState>,
        deadline: Deadline<'_>,
        wakes: Wakes,
        is_so: impl Fn(&QueueState) -> bool,
    ) -> MutexGuard<'a, QueueState> {
        while !state.closed && !is_so(&state) {
            let left = deadline.left();
            if left.is_zero() {
                break;
            }
            state.wakes = wakes;
            let woken = self.arrived.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.wakes = Wakes::Nothing;
        }
        state
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
    use crate::clock::{Clock, SteppedClock};

    /// By a clock that stands still it never comes.
    fn in_a_while(clock: &dyn Clock) -> Deadline<'_> {
        Deadline::after(clock, Duration::from_secs(20))
    }

    fn event(sequence: u64) -> Event {
        Event::Values {
            sequence: SequenceId(sequence),
            values: vec![],
        }
    }

    #[test]
    fn events_come_out_in_order_and_wake_a_waiter() {
        let (queue, clock) = (EventQueue::default(), SteppedClock::default());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait(in_a_while(&clock)));
            std::thread::sleep(Duration::from_millis(20));
            queue.push(event(1));
            assert_eq!(waiter.join().unwrap().len(), 1);
        });
        queue.push(event(2));
        queue.push(event(3));
        let order: Vec<_> = queue
            .take()
            .iter()
            .map(|event| format!("{event:?}"))
            .collect();
        assert!(
            order.len() == 2 && order[0].contains("SequenceId(2)"),
            "{order:?}"
        );
        assert!(queue.take().is_empty());
    }

    #[test]
    fn tokens_that_come_fast_are_handed_out_together_and_an_end_at_once() {
        let token = || Event::Token {
            sequence: SequenceId(1),
            token: 7,
            text: String::new(),
            logprobs: None,
        };
        let (queue, clock) = (EventQueue::default(), SteppedClock::default());
        // The first is not kept waiting, the next ones are until the pause is over.
        queue.push(token());
        assert_eq!(queue.wait(in_a_while(&clock)).len(), 1);
        queue.push(token());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait(in_a_while(&clock)));
            std::thread::sleep(4 * TOKEN_PAUSE);
            assert!(!waiter.is_finished(), "the clock stands still");
            queue.push(token());
            clock.advance(TOKEN_PAUSE.as_nanos() as u64);
            assert_eq!(waiter.join().unwrap().len(), 2);
        });
        // What is not a token wakes whoever waits for the pause to end.
        std::thread::scope(|scope| {
            queue.push(token());
            let waiter = scope.spawn(|| queue.wait(in_a_while(&clock)));
            queue.push(event(1));
            assert_eq!(waiter.join().unwrap().len(), 2);
        });
    }

    #[test]
    fn time_ends_the_wait() {
        let (queue, clock) = (EventQueue::default(), SteppedClock::default());
        let deadline = Deadline::after(&clock, Duration::from_millis(1));
        clock.advance(1_000_000);
        assert!(queue.wait(deadline).is_empty());
    }

    #[test]
    fn closing_ends_the_wait() {
        let queue = EventQueue::default();
        queue.close();
        let clock = SteppedClock::default();
        assert!(queue.wait(in_a_while(&clock)).is_empty());
    }
}
