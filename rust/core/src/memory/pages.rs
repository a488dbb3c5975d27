//! The budget, in pages: leases, idle leases that may be evicted, and those who wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::evict::{Watermarks, score};
use super::kind::Kind;
use super::tenants::{Charge, Tenant, Tenants};
use crate::clock::Deadline;
use crate::error::{Error, Result};

/// How a pool is set up.
#[derive(Debug, Clone, Copy)]
pub struct PagePoolConfig {
    /// Bytes in all; a page that is begun counts whole.
    pub budget_bytes: usize,
    /// Bytes of a page.
    pub page_bytes: usize,
    /// When idle leases are evicted.
    pub watermarks: Watermarks,
}

/// A budget of pages; safe to use from any thread.
#[derive(Debug)]
pub struct PagePool {
    config: PagePoolConfig,
    total: usize,
    tenants: Tenants,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// Pages leased, by kind; the idle ones included.
    used: [usize; 3],
    idle: BTreeMap<Ticket, Idle>,
    next_ticket: u64,
    clock: u64,
    highest: usize,
    evictions: u64,
    /// Pages that someone waits for.
    awaited: usize,
}

/// A lease that may be evicted.
struct Idle {
    lease: Lease,
    since: u64,
    /// Told when it is evicted, so that what stands in the pages is forgotten.
    on_eviction: Box<dyn FnOnce() + Send>,
}

/// Pages that belong to whoever holds this; they go back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<PagePool>,
    kind: Kind,
    pages: usize,
    charge: Option<Charge>,
}

/// An idle lease, to take up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What a pool counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePoolStats {
    /// Bytes of a page.
    pub page_bytes: usize,
    /// Pages in all.
    pub total_pages: usize,
    /// Pages leased for keys and values, adapters, and scratch.
    pub used_pages: [usize; 3],
    /// Of those, pages that may be evicted.
    pub idle_pages: usize,
    /// The most pages that were leased at once.
    pub highest_pages: usize,
    /// Leases evicted.
    pub evictions: u64,
}

impl PagePool {
    /// A pool with all pages free.
    pub fn new(config: PagePoolConfig) -> Result<Arc<Self>> {
        config.watermarks.check()?;
        if config.budget_bytes == 0 || config.page_bytes == 0 {
            return Err(Error::Config(format!(
                "a pool of {} bytes in pages of {}; both must be above 0",
                config.budget_bytes, config.page_bytes
            )));
        }
        Ok(Arc::new(Self {
            config,
            total: config.budget_bytes.div_ceil(config.page_bytes),
            tenants: Tenants::default(),
            state: Mutex::default(),
            returned: Condvar::new(),
        }))
    }

    /// How it was set up.
    pub fn config(&self) -> &PagePoolConfig {
        &self.config
    }

    /// The accounts.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Leases pages at once, evicting what is idle where it must.
    pub fn lease(
        self: &Arc<Self>,
        kind: Kind,
        tenant: Option<&Arc<Tenant>>,
        pages: usize,
    ) -> Result<Lease> {
        self.lease_or_wait(kind, tenant, pages, None)
    }

    /// Leases pages; where there are too few and nothing is idle, waits for others to return some.
    pub fn lease_until(
        self: &Arc<Self>,
        kind: Kind,
        tenant: Option<&Arc<Tenant>>,
        pages: usize,
        deadline: Deadline<'_>,
    ) -> Result<Lease> {
        self.lease_or_wait(kind, tenant, pages, Some(deadline))
    }

    fn lease_or_wait(
        self: &Arc<Self>,
        kind: Kind,
        tenant: Option<&Arc<Tenant>>,
        pages: usize,
        deadline: Option<Deadline<'_>>,
    ) -> Result<Lease> {
        if pages > self.total {
            return Err(self.too_large(pages));
        }
        let charge = match tenant {
            Some(tenant) => Some(self.charge_or_evict(tenant, pages)?),
            None => None,
        };
        let mut state = self.lock();
        let mut evicted = self.make_room(&mut state, pages);
        state.awaited += pages;
        while state.used_pages() + pages > self.total {
            let left = deadline.map_or(Duration::ZERO, |deadline| deadline.left());
            if left.is_zero() || !evicted.is_empty() {
                // What was evicted comes back below, without the lock; then there is another try.
                state.awaited -= pages;
                drop(state);
                if evicted.is_empty() {
                    return Err(self.exhausted(pages));
                }
                evicted.drain(..).for_each(Idle::evict);
                state = self.lock();
                state.awaited += pages;
                continue;
            }
            let woken = self.returned.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            evicted = self.make_room(&mut state, pages);
        }
        state.awaited -= pages;
        state.used[kind as usize] += pages;
        state.highest = state.highest.max(state.used_pages());
        drop(state);
        evicted.into_iter().for_each(Idle::evict);
        Ok(Lease {
            pool: Arc::clone(self),
            kind,
            pages,
            charge,
        })
    }

    /// Lets a lease be evicted from now on; `on_eviction` is called, without a lock, when it is.
    pub fn park(&self, lease: Lease, on_eviction: Box<dyn FnOnce() + Send>) -> Ticket {
        let mut state = self.lock();
        state.clock += 1;
        state.next_ticket += 1;
        let ticket = Ticket(state.next_ticket);
        let idle = Idle {
            lease,
            since: state.clock,
            on_eviction,
        };
        state.idle.insert(ticket, idle);
        drop(state);
        self.returned.notify_all();
        ticket
    }

    /// Takes a parked lease up again; `None` where it was evicted.
    pub fn revive(&self, ticket: Ticket) -> Option<Lease> {
        let mut state = self.lock();
        state.clock += 1;
        state.idle.remove(&ticket).map(|idle| idle.lease)
    }

    /// Pages that others wait for; owners of something that they can do without give that many back.
    pub fn awaited_pages(&self) -> usize {
        self.lock().awaited
    }

    /// Pages that one kind of owner could have: those that no other holds.
    pub fn pages_for(&self, kind: Kind) -> usize {
        let state = self.lock();
        let others = state.used_pages() - state.used[kind as usize];
        let idle = state.idle.values().map(|idle| &idle.lease);
        let can_go: usize = idle
            .filter(|lease| lease.kind != kind)
            .map(Lease::pages)
            .sum();
        self.total - (others - can_go)
    }

    /// What was counted.
    pub fn stats(&self) -> PagePoolStats {
        let state = self.lock();
        PagePoolStats {
            page_bytes: self.config.page_bytes,
            total_pages: self.total,
            used_pages: state.used,
            idle_pages: state.idle.values().map(|idle| idle.lease.pages).sum(),
            highest_pages: state.highest,
            evictions: state.evictions,
        }
    }

    /// Takes idle leases out, the readiest first, until the watermark allows `wanted` pages more.
    fn make_room(&self, state: &mut State, wanted: usize) -> Vec<Idle> {
        let mut excess = self
            .config
            .watermarks
            .excess(state.used_pages(), wanted, self.total);
        let mut evicted = Vec::new();
        while excess > 0 {
            let clock = state.clock;
            let readiest = state.idle.iter().max_by(|(_, left), (_, right)| {
                let score =
                    |idle: &Idle| score(clock - idle.since, idle.lease.pages, idle.lease.kind);
                score(left).total_cmp(&score(right))
            });
            let Some(ticket) = readiest.map(|(ticket, _)| *ticket) else {
                break;
            };
            if let Some(idle) = state.idle.remove(&ticket) {
                excess = excess.saturating_sub(idle.lease.pages);
                state.evictions += 1;
                evicted.push(idle);
            }
        }
        evicted
    }

    /// Puts pages on a tenant's account; where its quota forbids it, its own idle ones go.
    fn charge_or_evict(&self, tenant: &Arc<Tenant>, pages: usize) -> Result<Charge> {
        loop {
            let charged = self.charge(tenant, pages);
            if charged.is_ok() {
                return charged;
            }
            let Some(idle) = self.oldest_idle_of(tenant) else {
                return charged;
            };
            idle.evict();
        }
    }

    fn oldest_idle_of(&self, tenant: &Arc<Tenant>) -> Option<Idle> {
        let mut state = self.lock();
        let theirs = |idle: &Idle| {
            idle.lease
                .tenant()
                .is_some_and(|owner| Arc::ptr_eq(owner, tenant))
        };
        let ticket = state.idle.iter().find(|(_, idle)| theirs(idle))?.0;
        let ticket = *ticket;
        state.evictions += 1;
        state.idle.remove(&ticket)
    }

    fn charge(&self, tenant: &Arc<Tenant>, pages: usize) -> Result<Charge> {
        let bytes = pages.saturating_mul(self.config.page_bytes);
        tenant.charge(bytes).map_err(|full| {
            Error::OutOfMemory(format!(
                "{bytes} bytes for tenant {:?}: the quota of {:?} is {} bytes",
                tenant.name(),
                full.name(),
                full.quota().unwrap_or(usize::MAX)
            ))
        })
    }

    fn too_large(&self, pages: usize) -> Error {
        Error::OutOfMemory(format!(
            "{pages} pages of {} bytes are more than the whole pool has, {}; raise the budget",
            self.config.page_bytes, self.total
        ))
    }

    fn exhausted(&self, pages: usize) -> Error {
        let stats = self.stats();
        let [kv, adapters, scratch] = stats.used_pages;
        Error::OutOfMemory(format!(
            "{pages} pages of {} bytes: of {} pages {kv} hold keys and values, {adapters} adapters and \
             {scratch} scratch memory, and none of them can be evicted",
            stats.page_bytes, stats.total_pages
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn used_pages(&self) -> usize {
        self.used.iter().sum()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "State({} pages used)", self.used_pages())
    }
}

impl Idle {
    /// Forgets what stands in the pages, then returns them.
    fn evict(self) {
        (self.on_eviction)();
        drop(self.lease);
    }
}

impl Lease {
    /// How many pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The same pages, each by itself; the first has what is on an account.
    pub fn into_single_pages(mut self) -> Vec<Self> {
        let pages = std::mem::take(&mut self.pages);
        let mut charge = self.charge.take();
        let single = |_| Self {
            pool: Arc::clone(&self.pool),
            kind: self.kind,
            pages: 1,
            charge: charge.take(),
        };
        (0..pages).map(single).collect()
    }

    /// Who holds them, where someone was named.
    pub fn tenant(&self) -> Option<&Arc<Tenant>> {
        self.charge.as_ref().map(Charge::tenant)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.lock().used[self.kind as usize] -= self.pages;
        self.pool.returned.notify_all();
    }
}
