//! Who may take how much memory: one budget of pages for everything that comes and goes, and quotas
//! of tenants within it.
//!
//! The bytes themselves stand in the owners' own reservations (a thread that writes an adapter must
//! not share a slice with attention); the budget is what they share. A page is counted from when it is
//! leased until its lease is dropped, and its owner commits and returns it to the system with that.

mod evict;
mod kind;
mod pages;
mod tenants;

pub use evict::Watermarks;
pub use kind::Kind;
pub use pages::{Lease, PagePool, PagePoolConfig, PagePoolStats, Ticket};
pub use tenants::{Charge, Tenant, TenantStats, Tenants};

/// Bytes of a page: a huge page of the systems that we know.
pub const PAGE_BYTES: usize = 2 << 20;

/// Bytes of a page for a budget: smaller ones where few would fit, since a page that is begun counts whole.
pub fn page_bytes_for(budget: usize) -> usize {
    const FEWEST: usize = 8;
    const SMALLEST: usize = 64 << 10;
    let fair = budget / FEWEST;
    let power = fair.checked_ilog2().map_or(0, |power| 1 << power);
    power.clamp(SMALLEST, PAGE_BYTES)
}
