//! Time from outside: the core has no clock of its own, so that everything in it can be tested with
//! one that is moved by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Nanoseconds since a moment of the clock's choosing; never less than before.
    fn nanoseconds(&self) -> u64;
}

/// A moment to come, by a clock.
#[derive(Debug, Clone, Copy)]
pub struct Deadline<'a> {
    clock: &'a dyn Clock,
    nanoseconds: u64,
}

impl<'a> Deadline<'a> {
    /// So long from now.
    pub fn after(clock: &'a dyn Clock, time: Duration) -> Self {
        Self {
            clock,
            nanoseconds: later(clock.nanoseconds(), time),
        }
    }

    /// How long it is until then; 0 from then on.
    pub fn left(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(self.clock.nanoseconds()))
    }

    /// What the clock says.
    pub(crate) fn now(&self) -> u64 {
        self.clock.nanoseconds()
    }

    /// Another one by the same clock: so long after a moment that it told.
    pub(crate) fn moved(&self, moment: u64, time: Duration) -> Self {
        Self {
            clock: self.clock,
            nanoseconds: later(moment, time),
        }
    }
}

fn later(moment: u64, time: Duration) -> u64 {
    moment.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// A clock that is moved by hand.
#[derive(Debug, Default)]
pub struct SteppedClock(AtomicU64);

impl SteppedClock {
    /// Moves it on.
    pub fn advance(&self, nanoseconds: u64) {
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

impl Clock for SteppedClock {
    fn nanoseconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_when_the_clock_says_so() {
        let clock = SteppedClock::default();
        clock.advance(7);
        let deadline = Deadline::after(&clock, Duration::from_nanos(10));
        assert_eq!(deadline.left(), Duration::from_nanos(10));
        clock.advance(9);
        assert_eq!(deadline.left(), Duration::from_nanos(1));
        clock.advance(5);
        assert_eq!(deadline.left(), Duration::ZERO);
        let never = Deadline::after(&clock, Duration::MAX);
        assert!(never.left() > Duration::from_hours(1_000_000));
    }
}
