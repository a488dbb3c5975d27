//! Time from outside: the core has no clock of its own, so that everything in it can be tested with
//! one that is moved by hand.

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Nanoseconds since a moment of the clock's choosing; never less than before.
    fn nanoseconds(&self) -> u64;
}
