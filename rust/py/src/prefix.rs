//! `PrefixStats` and `PoolStats`: what the memory of an engine counted.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use ruvllm_core::engine::Engine;
use ruvllm_core::memory::TenantStats;
use ruvllm_core::prefix::{self, MissReason};

/// Counters of the prefix cache.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct PrefixStats {
    lookups: u64,
    hits: u64,
    partial_hits: u64,
    misses: u64,
    miss_reasons: BTreeMap<&'static str, u64>,
    evictions: u64,
    insertions: u64,
    refused: u64,
    lookup_tokens: u64,
    reused_tokens: u64,
    nodes: usize,
    tokens: usize,
    pinned: usize,
    memory_bytes: usize,
    max_memory_bytes: usize,
}

impl From<prefix::PrefixStats> for PrefixStats {
    fn from(stats: prefix::PrefixStats) -> Self {
        let reasons = MissReason::ALL.iter().map(|reason| reason.name());
        Self {
            lookups: stats.lookups,
            hits: stats.hits,
            partial_hits: stats.partial_hits,
            misses: stats.misses,
            miss_reasons: reasons.zip(stats.miss_reasons).collect(),
            evictions: stats.evictions,
            insertions: stats.insertions,
            refused: stats.refused,
            lookup_tokens: stats.lookup_tokens,
            reused_tokens: stats.reused_tokens,
            nodes: stats.nodes,
            tokens: stats.tokens,
            pinned: stats.pinned,
            memory_bytes: stats.memory_bytes,
            max_memory_bytes: stats.max_memory_bytes,
        }
    }
}

/// The page pool: pages, blocks, tenants.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct PoolStats {
    page_bytes: usize,
    total_pages: usize,
    kv_pages: usize,
    adapter_pages: usize,
    scratch_pages: usize,
    idle_pages: usize,
    highest_pages: usize,
    evictions: u64,
    block_bytes: usize,
    windows: Vec<Option<usize>>,
    total_blocks: usize,
    free_blocks: usize,
    cached_blocks: usize,
    swapped_bytes: usize,
    /// Name, bytes now, bytes at most ever, quota.
    tenants: Vec<(String, usize, usize, Option<usize>)>,
}

impl PoolStats {
    pub(crate) fn of(engine: &Engine) -> Self {
        let kv = engine.kv();
        let pages = kv.pages().stats();
        let [kv_pages, adapter_pages, scratch_pages] = pages.used_pages;
        let tenants = kv.pages().tenants().stats().into_iter();
        let row = |of: TenantStats| (of.tenant, of.used_bytes, of.highest_bytes, of.quota_bytes);
        Self {
            page_bytes: pages.page_bytes,
            total_pages: pages.total_pages,
            kv_pages,
            adapter_pages,
            scratch_pages,
            idle_pages: pages.idle_pages,
            highest_pages: pages.highest_pages,
            evictions: pages.evictions,
            block_bytes: kv.block_bytes(),
            windows: kv.groups().held_windows(),
            total_blocks: kv.total_blocks(),
            free_blocks: kv.free_blocks(),
            cached_blocks: kv.cached_blocks(),
            swapped_bytes: engine.swapped_bytes(),
            tenants: tenants.map(row).collect(),
        }
    }
}
