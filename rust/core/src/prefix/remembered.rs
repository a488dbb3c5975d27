//! Beginnings of evicted prefixes, to tell a miss's reason.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};

use crate::ids::TokenId;
use crate::kv::BLOCK_TOKENS;

/// How many are remembered.
const REMEMBERED: usize = 4096;

/// The last so many hashes.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    known: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Remembered {
    /// Remembers that a text began so.
    pub(super) fn add(&mut self, namespace: &impl Hash, beginning: &[TokenId]) {
        self.add_value(hash(namespace, beginning));
    }

    /// Whether one did.
    pub(super) fn has(&self, namespace: &impl Hash, beginning: &[TokenId]) -> bool {
        self.has_value(hash(namespace, beginning))
    }

    fn add_value(&mut self, value: u64) {
        if self.known.insert(value) {
            self.order.push_back(value);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn has_value(&self, value: u64) -> bool {
        self.known.contains(&value)
    }
}

/// The first block's worth of tokens, by which a prefix is remembered.
pub(super) fn beginning_of(tokens: &[TokenId]) -> Option<&[TokenId]> {
    tokens.get(..BLOCK_TOKENS)
}

fn hash(namespace: &impl Hash, beginning: &[TokenId]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, beginning).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_so_many_are_remembered_and_no_more() {
        let mut remembered = Remembered::default();
        let all = 0..REMEMBERED as u64 + 100;
        for value in all.clone() {
            remembered.add_value(value);
            remembered.add_value(value);
        }
        assert_eq!(remembered.known.len(), REMEMBERED);
        assert_eq!(remembered.order.len(), REMEMBERED);
        let kept: Vec<u64> = all.filter(|value| remembered.has_value(*value)).collect();
        assert_eq!(kept, (100..REMEMBERED as u64 + 100).collect::<Vec<_>>());
    }
}
