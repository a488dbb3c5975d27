//! What the cache counted.

/// Why a lookup found nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissReason {
    /// The prompt is shorter than the request's `min_cache_tokens`.
    TooShort,
    /// Nothing is kept for this tenant and adapter.
    Empty,
    /// It was there and had to go.
    Evicted,
    /// Nothing that is kept begins so.
    Unknown,
}

impl MissReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TooShort, Self::Empty, Self::Evicted, Self::Unknown];

    /// Its name for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::Empty => "empty",
            Self::Evicted => "evicted",
            Self::Unknown => "unknown_prefix",
        }
    }
}

/// Counters since the cache was made, and what it holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixStats {
    /// Lookups in all: hits, partial hits and misses.
    pub lookups: u64,
    /// The whole prompt was there (all but the last token, which is always computed).
    pub hits: u64,
    /// A beginning of the prompt was there.
    pub partial_hits: u64,
    /// Nothing was there.
    pub misses: u64,
    /// Misses by reason, in the order of [`MissReason::ALL`].
    pub miss_reasons: [u64; 4],
    /// Nodes that had to go for others.
    pub evictions: u64,
    /// Insertions that added something.
    pub insertions: u64,
    /// Insertions that did not fit into the budget.
    pub refused: u64,
    /// Tokens that were looked up.
    pub lookup_tokens: u64,
    /// Tokens that were found and not computed again.
    pub reused_tokens: u64,
    /// Nodes now.
    pub nodes: usize,
    /// Tokens on them.
    pub tokens: usize,
    /// Nodes in use by running requests.
    pub pinned: usize,
    /// Bytes of the blocks they hold.
    pub memory_bytes: usize,
    /// The most bytes they may hold.
    pub max_memory_bytes: usize,
}

impl PrefixStats {
    pub(super) fn count(&mut self, found: usize, wanted: usize, miss: Option<MissReason>) {
        self.lookups += 1;
        self.lookup_tokens += wanted as u64;
        self.reused_tokens += found as u64;
        match miss {
            Some(reason) => {
                self.misses += 1;
                self.miss_reasons[reason as usize] += 1;
            }
            None if found == wanted => self.hits += 1,
            None => self.partial_hits += 1,
        }
    }
}
