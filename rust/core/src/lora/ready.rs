//! The books of an adapter pool: which adapters are ready, who holds them, and the pages under them.

use std::collections::HashMap;
use std::sync::Arc;

use super::adapter::Adapter;
use crate::memory::{Lease, PagePool, Ticket};

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

/// All of it; a pool keeps it under its lock.
#[derive(Debug)]
pub(super) struct State {
    page_bytes: usize,
    entries: HashMap<u64, Entry>,
    /// Of adapters that are ready, and of reservations.
    used_bytes: usize,
    /// Of those, what somebody holds.
    held_bytes: usize,
    /// Pages that nobody else may take: at least what is held.
    held: Vec<Lease>,
    /// Pages that others may take, by a number of ours.
    parked: HashMap<u64, Ticket>,
    /// Pages that are being leased.
    coming: usize,
    next_number: u64,
    clock: u64,
    made: u64,
    evicted: u64,
}

/// An adapter that is ready, or was forgotten and is still held.
#[derive(Debug)]
struct Entry {
    adapter: Arc<Adapter>,
    bytes: usize,
    holders: usize,
    last_use: u64,
    is_forgotten: bool,
}

impl State {
    pub(super) fn new(page_bytes: usize) -> Self {
        Self {
            page_bytes,
            entries: HashMap::new(),
            used_bytes: 0,
            held_bytes: 0,
            held: Vec::new(),
            parked: HashMap::new(),
            coming: 0,
            next_number: 0,
            clock: 0,
            made: 0,
            evicted: 0,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn stats(&self) -> AdapterPoolStats {
        AdapterPoolStats {
            ready: self.entries.len(),
            ready_bytes: self.entries.values().map(|one| one.bytes).sum(),
            pages: self.held.len() + self.parked.len(),
            made: self.made,
            evicted: self.evicted,
        }
    }

    /// Lets adapters go that nobody holds until so many bytes more fit; false where too few can.
    pub(super) fn make_room(&mut self, bytes: usize, most_bytes: usize) -> bool {
        if self.held_bytes + bytes > most_bytes {
            return false;
        }
        self.shrink(most_bytes - bytes);
        true
    }

    /// Counts bytes that somebody holds from now on.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.used_bytes += bytes;
        self.held_bytes += bytes;
    }

    pub(super) fn unreserve(&mut self, bytes: usize) {
        self.used_bytes -= bytes;
        self.held_bytes -= bytes;
    }

    /// An adapter in place of the reservation, held once.
    pub(super) fn add(&mut self, generation: u64, adapter: Arc<Adapter>, bytes: usize) {
        self.clock += 1;
        self.made += 1;
        let entry = Entry {
            adapter,
            bytes,
            holders: 1,
            last_use: self.clock,
            is_forgotten: false,
        };
        self.entries.insert(generation, entry);
    }

    /// Takes parked pages up for what is held and for what is used; says how many are missing.
    pub(super) fn take_pages(&mut self, pages: &PagePool) -> usize {
        let needed = self.held_bytes.div_ceil(self.page_bytes);
        while self.held.len() < needed
            && let Some(number) = self.parked.keys().next().copied()
            && let Some(ticket) = self.parked.remove(&number)
        {
            // One that is not there any more was taken; what stood on it goes now.
            match pages.revive(ticket) {
                Some(lease) => self.held.push(lease),
                None => self.shrink_to_pages(),
            }
        }
        let used = self.used_bytes.div_ceil(self.page_bytes);
        used.saturating_sub(self.held.len() + self.parked.len() + self.coming)
    }

    /// So many pages are being leased, without the lock.
    pub(super) fn expect_pages(&mut self, pages: usize) {
        self.coming += pages;
    }

    /// They came, or did not.
    pub(super) fn hold_pages(&mut self, expected: usize, leases: Vec<Lease>) {
        self.coming -= expected;
        self.held.extend(leases);
    }

    /// Holds an adapter that is ready once more; `None` where there is none, or its pages were taken.
    pub(super) fn hold(&mut self, generation: u64, pages: &PagePool) -> Option<Arc<Adapter>> {
        self.clock += 1;
        let clock = self.clock;
        let entry = self.entries.get_mut(&generation)?;
        // The same content, asked for again.
        entry.is_forgotten = false;
        entry.last_use = clock;
        entry.holders += 1;
        if entry.holders == 1 {
            self.held_bytes += entry.bytes;
            let adapter = Arc::clone(&entry.adapter);
            if self.take_pages(pages) > 0 {
                self.let_go(&adapter);
                self.evict(generation);
                return None;
            }
        }
        let entry = self.entries.get(&generation)?;
        Some(Arc::clone(&entry.adapter))
    }

    /// Holds an adapter once less.
    pub(super) fn let_go(&mut self, adapter: &Adapter) {
        let generation = adapter.generation();
        let Some(entry) = self.entries.get_mut(&generation) else {
            return;
        };
        entry.holders -= 1;
        if entry.holders == 0 {
            self.held_bytes -= entry.bytes;
            if entry.is_forgotten {
                self.remove(generation);
            }
        }
    }

    /// Takes an adapter out; one that is held goes when it is let go.
    pub(super) fn forget(&mut self, generation: u64) {
        match self.entries.get_mut(&generation) {
            Some(entry) if entry.holders > 0 => entry.is_forgotten = true,
            Some(_) => self.remove(generation),
            None => {}
        }
    }

    /// A page that what is held does not need, to be parked under a number; one that nothing needs is given back.
    pub(super) fn spare_page(&mut self) -> Option<(u64, Lease)> {
        let used = self.used_bytes.div_ceil(self.page_bytes);
        let held = self.held_bytes.div_ceil(self.page_bytes);
        while self.held.len() > held {
            let lease = self.held.pop()?;
            if self.held.len() + self.parked.len() >= used {
                drop(lease);
                continue;
            }
            self.next_number += 1;
            return Some((self.next_number, lease));
        }
        None
    }

    /// Gives parked pages back that nothing stands on.
    pub(super) fn give_back(&mut self, pages: &PagePool) {
        let used = self.used_bytes.div_ceil(self.page_bytes);
        while self.held.len() + self.parked.len() > used
            && let Some(number) = self.parked.keys().next().copied()
            && let Some(ticket) = self.parked.remove(&number)
        {
            drop(pages.revive(ticket));
        }
    }

    pub(super) fn parked(&mut self, number: u64, ticket: Ticket) {
        self.parked.insert(number, ticket);
    }

    /// Another owner has a parked page; what stood there goes.
    pub(super) fn page_taken(&mut self, number: u64) {
        if self.parked.remove(&number).is_some() {
            self.shrink_to_pages();
        }
    }

    fn shrink_to_pages(&mut self) {
        self.shrink((self.held.len() + self.parked.len()) * self.page_bytes);
    }

    /// Lets the longest unused go until so many bytes are used, or all are held.
    fn shrink(&mut self, bytes: usize) {
        while self.used_bytes > bytes {
            let idle = self.entries.iter().filter(|(_, one)| one.holders == 0);
            let oldest = idle.min_by_key(|(_, one)| one.last_use);
            let Some(generation) = oldest.map(|(generation, _)| *generation) else {
                return;
            };
            self.evict(generation);
        }
    }

    fn evict(&mut self, generation: u64) {
        self.evicted += 1;
        self.remove(generation);
    }

    fn remove(&mut self, generation: u64) {
        if let Some(entry) = self.entries.remove(&generation) {
            self.used_bytes -= entry.bytes;
        }
    }
}
