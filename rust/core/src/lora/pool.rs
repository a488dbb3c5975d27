//! Adapters that are ready to be computed with, on pages of the budget that keys and values share.
//!
//! All that are ready stand side by side on as many pages as their bytes take, so a small one takes little. While
//! anybody holds an adapter it stays. Pages that nobody's adapters need are parked: whatever needs them may take them,
//! and then the longest unused go. An adapter that is gone is made anew from where it came: which are here changes how
//! long a request takes and nothing else.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::adapter::Adapter;
use super::ready::{AdapterPoolStats, State};
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::memory::{Kind, PagePool};

/// Ready adapters, by generation; safe to use from any thread.
#[derive(Debug)]
pub struct AdapterPool {
    pages: Arc<PagePool>,
    /// Pages that adapters may have at once.
    most_pages: usize,
    state: Mutex<State>,
    /// Told when an adapter is not held any more, or is gone.
    returned: Condvar,
}

/// An adapter that stays as long as this.
#[derive(Debug)]
pub struct ReadyAdapter {
    adapter: Arc<Adapter>,
    /// Where it stands; an adapter of no pool is its holder's alone.
    pool: Option<Arc<AdapterPool>>,
}

impl AdapterPool {
    /// None yet; they may take so many bytes of a budget, in whole pages.
    pub fn new(pages: Arc<PagePool>, most_bytes: usize) -> Arc<Self> {
        let page_bytes = pages.config().page_bytes;
        Arc::new(Self {
            pages,
            most_pages: most_bytes.div_ceil(page_bytes),
            state: Mutex::new(State::new(page_bytes)),
            returned: Condvar::new(),
        })
    }

    /// An adapter that is ready.
    pub fn get(self: &Arc<Self>, generation: u64) -> Option<ReadyAdapter> {
        self.find(&mut self.lock(), generation)
    }

    /// Makes room for an adapter of so many bytes, then the adapter; where all is held, waits for somebody to let go.
    /// One that somebody else has made meanwhile is taken.
    pub fn put(
        self: &Arc<Self>,
        (generation, bytes): (u64, usize),
        deadline: Deadline<'_>,
        make: impl FnOnce() -> Result<Adapter>,
    ) -> Result<ReadyAdapter> {
        let reserved = self.reserve(bytes, deadline)?;
        let adapter = Arc::new(make()?);
        let mut state = self.lock();
        if let Some(there) = self.find(&mut state, generation) {
            return Ok(there);
        }
        state.add(generation, Arc::clone(&adapter), bytes);
        reserved.become_its_own();
        Ok(self.ready(adapter))
    }

    /// Takes an adapter out that nobody will ask for again; who holds it keeps it.
    pub fn forget(self: &Arc<Self>, generation: u64) {
        let mut state = self.lock();
        state.forget(generation);
        self.park(&mut state);
    }

    /// What was counted.
    pub fn stats(&self) -> AdapterPoolStats {
        self.lock().stats()
    }

    /// Takes room that is held for the caller.
    fn reserve(self: &Arc<Self>, bytes: usize, deadline: Deadline<'_>) -> Result<Reservation<'_>> {
        let page_bytes = self.pages.config().page_bytes;
        let most_bytes = self.most_pages * page_bytes;
        if bytes > most_bytes {
            return Err(Error::Adapter(format!(
                "it takes {bytes} bytes, and adapters may have {most_bytes}; raise adapter_bytes"
            )));
        }
        let mut state = self.lock();
        while !state.make_room(bytes, most_bytes) {
            let left = deadline.left();
            if left.is_zero() {
                return Err(Error::OutOfMemory(format!(
                    "the adapter takes {bytes} bytes; of {most_bytes} that adapters may have, requests that run hold \
                     {}; try again, or raise adapter_bytes",
                    state.held_bytes()
                )));
            }
            let woken = self.returned.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.reserve(bytes);
        // Dropped behind the lock, wherever this returns.
        let reserved = Reservation { pool: self, bytes };
        let mut state = state;
        loop {
            let missing = state.take_pages(&self.pages);
            if missing == 0 {
                return Ok(reserved);
            }
            state.expect_pages(missing);
            drop(state);
            // Without the lock: whoever has to go for it may be one of ours.
            let leased = self
                .pages
                .lease_until(Kind::Adapter, None, missing, deadline);
            state = self.lock();
            match leased {
                Ok(lease) => state.hold_pages(missing, lease.into_single_pages()),
                Err(error) => {
                    state.hold_pages(missing, Vec::new());
                    return Err(error);
                }
            }
        }
    }

    fn find(self: &Arc<Self>, state: &mut State, generation: u64) -> Option<ReadyAdapter> {
        let adapter = state.hold(generation, &self.pages)?;
        Some(self.ready(adapter))
    }

    /// Gives the pages that held adapters do not need to whoever needs them.
    fn park(self: &Arc<Self>, state: &mut State) {
        while let Some((number, lease)) = state.spare_page() {
            let pool = Arc::downgrade(self);
            let ticket = self
                .pages
                .park(lease, Box::new(move || page_taken(&pool, number)));
            state.parked(number, ticket);
        }
        state.give_back(&self.pages);
        self.returned.notify_all();
    }

    fn ready(self: &Arc<Self>, adapter: Arc<Adapter>) -> ReadyAdapter {
        ReadyAdapter {
            adapter,
            pool: Some(Arc::clone(self)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for an adapter that is being made; given back where none comes of it.
struct Reservation<'a> {
    pool: &'a Arc<AdapterPool>,
    bytes: usize,
}

impl Reservation<'_> {
    /// The adapter stands on it.
    fn become_its_own(self) {
        std::mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.unreserve(self.bytes);
        self.pool.park(&mut state);
    }
}

/// The budget took a parked page.
fn page_taken(pool: &Weak<AdapterPool>, number: u64) {
    if let Some(pool) = pool.upgrade() {
        pool.lock().page_taken(number);
        pool.returned.notify_all();
    }
}

impl Deref for ReadyAdapter {
    type Target = Adapter;

    fn deref(&self) -> &Adapter {
        &self.adapter
    }
}

impl From<Adapter> for ReadyAdapter {
    fn from(adapter: Adapter) -> Self {
        Self {
            adapter: Arc::new(adapter),
            pool: None,
        }
    }
}

impl Drop for ReadyAdapter {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            let mut state = pool.lock();
            state.let_go(&self.adapter);
            pool.park(&mut state);
        }
    }
}
