//! Adapters that are ready to be computed with, on pages of the budget that keys and values share.
//!
//! A large one has pages of its own, small ones share some: a shelf. While anybody holds an adapter of a shelf its pages
//! stay; from then on they may be taken for whatever needs them, the longest unused first. An adapter that is gone is
//! made anew from where it came: which are here changes how long a request takes and nothing else.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::adapter::Adapter;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::memory::{Kind, Lease, PagePool, Ticket};

/// Ready adapters, by generation; safe to use from any thread.
#[derive(Debug)]
pub struct AdapterPool {
    pages: Arc<PagePool>,
    /// Pages that adapters may have at once.
    most_pages: usize,
    state: Mutex<State>,
    /// Told when a shelf is not held any more, or is gone.
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    shelves: HashMap<u64, Shelf>,
    /// On which shelf an adapter stands.
    places: HashMap<u64, u64>,
    next_shelf: u64,
    /// Pages of shelves, and of those that are being made.
    pages: usize,
    stats: AdapterPoolStats,
}

/// Some pages, and who stands on them.
#[derive(Debug)]
struct Shelf {
    pages: usize,
    free_bytes: usize,
    adapters: HashMap<u64, Arc<Adapter>>,
    holders: usize,
    hold: Hold,
}

/// Whose the pages are.
#[derive(Debug)]
enum Hold {
    /// Ours alone.
    Leased(Lease),
    /// Whoever's needs them.
    Parked(Ticket),
}

/// What a pool counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdapterPoolStats {
    /// Adapters that are ready.
    pub ready: usize,
    /// Bytes of their numbers.
    pub ready_bytes: usize,
    /// Pages that they stand on.
    pub pages: usize,
    /// How often one was made.
    pub made: u64,
    /// How many had to go for others.
    pub evicted: u64,
}

/// An adapter that stays as long as this.
#[derive(Debug)]
pub struct ReadyAdapter {
    adapter: Arc<Adapter>,
    /// Where it stands; an adapter of no pool is its holder's alone.
    place: Option<(Arc<AdapterPool>, u64)>,
}

impl AdapterPool {
    /// None yet; they may take so many bytes of a budget, in whole pages.
    pub fn new(pages: Arc<PagePool>, most_bytes: usize) -> Arc<Self> {
        let most_pages = most_bytes.div_ceil(pages.config().page_bytes);
        Arc::new(Self {
            pages,
            most_pages,
            state: Mutex::default(),
            returned: Condvar::new(),
        })
    }

    /// An adapter that is ready.
    pub fn get(self: &Arc<Self>, generation: u64) -> Option<ReadyAdapter> {
        self.find(&mut self.lock(), generation)
    }

    fn find(self: &Arc<Self>, state: &mut State, generation: u64) -> Option<ReadyAdapter> {
        let shelf = *state.places.get(&generation)?;
        let is_there = self.hold(state, shelf);
        let adapter = state.shelves.get(&shelf)?.adapters.get(&generation)?;
        is_there.then(|| self.ready(Arc::clone(adapter), shelf))
    }

    /// Makes room for an adapter of so many bytes, then the adapter; where all is held, waits for somebody to let go.
    /// One that somebody else has made meanwhile is taken.
    pub fn put(
        self: &Arc<Self>,
        (generation, bytes): (u64, usize),
        deadline: Deadline<'_>,
        make: impl FnOnce() -> Result<Adapter>,
    ) -> Result<ReadyAdapter> {
        let shelf = self.shelf_for(bytes, deadline)?;
        let made = make();
        let mut state = self.lock();
        let outcome = made.map(|adapter| match self.find(&mut state, generation) {
            Some(there) => there,
            None => {
                let adapter = Arc::new(adapter);
                state.add(shelf, generation, &adapter);
                self.ready(adapter, shelf)
            }
        });
        let is_used = matches!(&outcome, Ok(ready) if ready.stands_on(shelf));
        if !is_used && let Some(shelf) = state.shelves.get_mut(&shelf) {
            shelf.free_bytes += bytes;
        }
        // The hold under which it was made.
        self.let_go(&mut state, shelf);
        drop(state);
        outcome
    }

    /// Takes an adapter out that nobody will ask for again; who holds it keeps it.
    pub fn forget(self: &Arc<Self>, generation: u64) {
        let mut state = self.lock();
        let Some(place) = state.places.remove(&generation) else {
            return;
        };
        if !self.hold(&mut state, place) {
            return;
        }
        if let Some(shelf) = state.shelves.get_mut(&place)
            && let Some(adapter) = shelf.adapters.remove(&generation)
            // Of one that somebody holds the room is free again when all of its shelf have gone.
            && let Some(adapter) = Arc::into_inner(adapter)
        {
            shelf.free_bytes += adapter.bytes();
        }
        self.let_go(&mut state, place);
    }

    /// What was counted.
    pub fn stats(&self) -> AdapterPoolStats {
        let state = self.lock();
        let adapters = || state.shelves.values().flat_map(|one| one.adapters.values());
        AdapterPoolStats {
            ready: adapters().count(),
            ready_bytes: adapters().map(|adapter| adapter.bytes()).sum(),
            pages: state.pages,
            ..state.stats
        }
    }

    /// A shelf with room, which is held once for the caller.
    fn shelf_for(self: &Arc<Self>, bytes: usize, deadline: Deadline<'_>) -> Result<u64> {
        let page_bytes = self.pages.config().page_bytes;
        let pages = bytes.div_ceil(page_bytes).max(1);
        if pages > self.most_pages {
            return Err(Error::OutOfMemory(format!(
                "the adapter takes {bytes} bytes, and adapters may have {} of {page_bytes}; raise adapter_bytes",
                self.most_pages
            )));
        }
        let mut state = self.lock();
        loop {
            if let Some(shelf) = self.shelf_with_room(&mut state, bytes) {
                return Ok(shelf);
            }
            if state.pages + pages <= self.most_pages {
                break;
            }
            if self.evict_one(&mut state) {
                continue;
            }
            let left = deadline.left();
            if left.is_zero() {
                return Err(Error::OutOfMemory(format!(
                    "the adapter takes {bytes} bytes; requests that run hold all {} pages of {page_bytes} that \
                     adapters may have; try again, or raise adapter_bytes",
                    self.most_pages
                )));
            }
            let woken = self.returned.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.pages += pages;
        drop(state);
        // Without the lock: whoever is evicted for it may be one of ours.
        let leased = self.pages.lease_until(Kind::Adapter, None, pages, deadline);
        let mut state = self.lock();
        let lease = leased.inspect_err(|_| state.pages -= pages)?;
        state.next_shelf += 1;
        let number = state.next_shelf;
        let shelf = Shelf {
            pages,
            free_bytes: pages * page_bytes - bytes,
            adapters: HashMap::new(),
            holders: 1,
            hold: Hold::Leased(lease),
        };
        state.shelves.insert(number, shelf);
        Ok(number)
    }

    /// A shelf that has so much room left, held.
    fn shelf_with_room(&self, state: &mut State, bytes: usize) -> Option<u64> {
        let with_room = state
            .shelves
            .iter()
            .filter(|(_, shelf)| shelf.free_bytes >= bytes);
        let fullest = with_room.min_by_key(|(number, shelf)| (shelf.free_bytes, **number));
        let number = *fullest?.0;
        if !self.hold(state, number) {
            return self.shelf_with_room(state, bytes);
        }
        state.shelves.get_mut(&number)?.free_bytes -= bytes;
        Some(number)
    }

    /// Holds a shelf once more; false where its pages were taken, and it is gone.
    fn hold(&self, state: &mut State, number: u64) -> bool {
        let Some(shelf) = state.shelves.get_mut(&number) else {
            return false;
        };
        if let Hold::Parked(ticket) = shelf.hold {
            match self.pages.revive(ticket) {
                Some(lease) => shelf.hold = Hold::Leased(lease),
                None => {
                    state.remove(number);
                    return false;
                }
            }
        }
        shelf.holders += 1;
        true
    }

    /// Holds a shelf once less.
    fn let_go(self: &Arc<Self>, state: &mut State, number: u64) {
        let Some(shelf) = state.shelves.get_mut(&number) else {
            return;
        };
        shelf.holders -= 1;
        if shelf.holders > 0 {
            return;
        }
        if shelf.adapters.is_empty() {
            state.remove(number);
        } else if let Some(mut shelf) = state.shelves.remove(&number) {
            if let Hold::Leased(lease) = shelf.hold {
                let pool = Arc::downgrade(self);
                let ticket = self
                    .pages
                    .park(lease, Box::new(move || evicted(&pool, number)));
                shelf.hold = Hold::Parked(ticket);
            }
            state.shelves.insert(number, shelf);
        }
        self.returned.notify_all();
    }

    /// Takes the pages of a shelf back that nobody holds, the longest unused; whether there was one.
    fn evict_one(&self, state: &mut State) -> bool {
        let parked = state.shelves.iter().filter_map(|(number, shelf)| {
            let Hold::Parked(ticket) = shelf.hold else {
                return None;
            };
            // Tickets count up.
            Some((ticket, *number))
        });
        let Some((ticket, number)) = parked.min() else {
            return false;
        };
        drop(self.pages.revive(ticket));
        state.evict(number);
        true
    }

    fn ready(self: &Arc<Self>, adapter: Arc<Adapter>, shelf: u64) -> ReadyAdapter {
        ReadyAdapter {
            adapter,
            place: Some((Arc::clone(self), shelf)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No call under the lock can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The budget took the pages of a shelf.
fn evicted(pool: &Weak<AdapterPool>, number: u64) {
    if let Some(pool) = pool.upgrade() {
        pool.lock().evict(number);
        pool.returned.notify_all();
    }
}

impl State {
    fn add(&mut self, place: u64, generation: u64, adapter: &Arc<Adapter>) {
        if let Some(shelf) = self.shelves.get_mut(&place) {
            shelf.adapters.insert(generation, Arc::clone(adapter));
            shelf.holders += 1;
            self.places.insert(generation, place);
            self.stats.made += 1;
        }
    }

    fn evict(&mut self, number: u64) {
        let adapters = self
            .shelves
            .get(&number)
            .map_or(0, |one| one.adapters.len());
        self.stats.evicted += adapters as u64;
        self.remove(number);
    }

    fn remove(&mut self, number: u64) {
        if let Some(shelf) = self.shelves.remove(&number) {
            self.pages -= shelf.pages;
            self.places.retain(|_, place| *place != number);
        }
    }
}

impl ReadyAdapter {
    fn stands_on(&self, shelf: u64) -> bool {
        matches!(&self.place, Some((_, number)) if *number == shelf)
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
            place: None,
        }
    }
}

impl Drop for ReadyAdapter {
    fn drop(&mut self) {
        if let Some((pool, shelf)) = &self.place {
            pool.let_go(&mut pool.lock(), *shelf);
        }
    }
}
