//! What a request asks for of adapters.

use std::sync::Arc;

use super::pool::ReadyAdapter;

/// An adapter on a request, and how much of it.
#[derive(Debug, Clone)]
pub struct AdapterUse {
    /// The adapter, which stays as long.
    pub adapter: Arc<ReadyAdapter>,
    /// What all that it adds is multiplied with.
    pub scale: f32,
}

impl AdapterUse {
    /// Says what it is: equal ones add the same.
    fn identity(&self) -> [u64; 2] {
        [self.adapter.generation(), u64::from(self.scale.to_bits())]
    }
}

/// Whether the same is added for both.
pub fn are_same(left: &[AdapterUse], right: &[AdapterUse]) -> bool {
    let (left, right) = (left.iter(), right.iter());
    left.map(AdapterUse::identity)
        .eq(right.map(AdapterUse::identity))
}

/// Under which number keys and values are known that were computed with these; 0 for none.
pub fn key_of(uses: &[AdapterUse]) -> u64 {
    match uses {
        [] => 0,
        [one] if one.scale.to_bits() == 1.0_f32.to_bits() => one.adapter.generation(),
        several => {
            let identities = several.iter().flat_map(AdapterUse::identity);
            let bytes: Vec<u8> = identities.flat_map(u64::to_le_bytes).collect();
            xxhash_rust::xxh3::xxh3_64(&bytes).max(1)
        }
    }
}
