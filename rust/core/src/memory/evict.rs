//! When to evict, and what first.

use crate::error::{Error, Result};

use super::kind::Kind;

/// Eviction begins above one share of the budget and ends at another, so that it does not run at
/// every request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Watermarks {
    /// Above this share eviction begins.
    pub high: f64,
    /// At this share it ends.
    pub low: f64,
}

impl Default for Watermarks {
    fn default() -> Self {
        Self {
            high: 0.85,
            low: 0.70,
        }
    }
}

impl Watermarks {
    /// Refuses marks that are no shares or stand the wrong way round.
    pub fn check(self) -> Result<Self> {
        if 0.0 < self.low && self.low <= self.high && self.high <= 1.0 {
            return Ok(self);
        }
        Err(Error::Config(format!(
            "watermarks are {} and {}; the lower one must be above 0 and the higher one from there to 1",
            self.low, self.high
        )))
    }

    /// How much of `used` has to go for `wanted` more within `total`; nothing below the high mark.
    pub fn excess(self, used: usize, wanted: usize, total: usize) -> usize {
        let after = used.saturating_add(wanted);
        if after as f64 <= total as f64 * self.high {
            return 0;
        }
        let kept = (total as f64 * self.low) as usize;
        after.saturating_sub(kept).min(used)
    }
}

/// How readily idle pages go: long unused, large, and of a kind that is cheap to make again.
pub(super) fn score(idle_ticks: u64, pages: usize, kind: Kind) -> f64 {
    let cheapness = match kind {
        Kind::Scratch => 4.0,
        Kind::Kv => 2.0,
        Kind::Adapter => 1.0,
    };
    // Size counts by its root: one large owner must not always go before many stale small ones.
    (idle_ticks + 1) as f64 * (pages.max(1) as f64).sqrt() * cheapness
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eviction_begins_at_the_high_mark_and_goes_down_to_the_low_one() {
        let marks = Watermarks::default();
        assert_eq!(marks.excess(84, 1, 100), 0);
        assert_eq!(marks.excess(85, 1, 100), 16);
        assert_eq!(marks.excess(3, 100, 100), 3);
        assert_eq!(marks.excess(0, usize::MAX, 100), 0);
    }

    #[test]
    fn marks_that_make_no_sense_are_refused() {
        for (low, high) in [(0.0, 0.5), (0.9, 0.8), (0.5, 1.1), (f64::NAN, 0.5)] {
            assert!(Watermarks { high, low }.check().is_err());
        }
        assert!(Watermarks::default().check().is_ok());
    }

    #[test]
    fn older_larger_and_cheaper_goes_first() {
        assert!(score(9, 1, Kind::Kv) > score(3, 1, Kind::Kv));
        assert!(score(3, 8, Kind::Kv) > score(3, 1, Kind::Kv));
        assert!(score(3, 1, Kind::Scratch) > score(3, 1, Kind::Adapter));
    }

    #[test]
    fn a_large_owner_does_not_go_before_one_that_is_much_longer_unused() {
        assert!(score(9, 1, Kind::Kv) > score(4, 3, Kind::Kv));
        assert!(score(9, 1, Kind::Kv) < score(4, 5, Kind::Kv));
    }
}
