//! Which pack is active: upgrades that nobody notices, and the way back.
//!
//! A new pack is verified, compiled and compared with the native kernels before anyone is served by it; then
//! it takes the other's place between two steps. The other is kept for a while. Where the new one
//! breaks within that time, the other comes back by itself.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ruvllm_kernels::Kernels;

use crate::error::LoadError;
use crate::pack::{Pack, PackSummary, Trust, VerifiedPack};
use crate::sandbox::Sandbox;
use crate::serve::counters::Counters;
use crate::serve::floors::{Downgrade, Floors};
use crate::serve::health;
use crate::serve::pack_kernels::{PackKernels, Switch};

/// How long a replaced pack is kept.
const GRACE: Duration = Duration::from_mins(5);

/// Time since some moment.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The packs of a host.
#[derive(Debug)]
pub struct PackManager {
    sandbox: Arc<Sandbox>,
    trust: Trust,
    native: Arc<dyn Kernels>,
    counters: Arc<Counters>,
    /// Held during an activation, so that there is one at a time.
    floors: Mutex<Floors>,
    active: Arc<Active>,
}

struct Active {
    sandbox: Arc<Sandbox>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Entry>,
    previous: Option<(Entry, Duration)>,
    generation: u64,
    automatic_rollbacks: u64,
}

#[derive(Clone)]
struct Entry {
    pack: Arc<Pack>,
    kernels: Arc<PackKernels>,
    generation: u64,
}

impl PackManager {
    /// A host without a pack. Packs run in `sandbox` and are compared with `native`.
    pub fn new(
        sandbox: Arc<Sandbox>,
        trust: Trust,
        native: Arc<dyn Kernels>,
        floors: Floors,
    ) -> Self {
        let begin = Instant::now();
        Self::with_clock(
            sandbox,
            trust,
            native,
            floors,
            Arc::new(move || begin.elapsed()),
        )
    }

    /// The same with a clock of the caller's.
    pub fn with_clock(
        sandbox: Arc<Sandbox>,
        trust: Trust,
        native: Arc<dyn Kernels>,
        floors: Floors,
        clock: Clock,
    ) -> Self {
        let active = Active {
            sandbox: Arc::clone(&sandbox),
            clock,
            state: Mutex::default(),
        };
        Self {
            sandbox,
            trust,
            native,
            counters: Arc::default(),
            floors: Mutex::new(floors),
            active: Arc::new(active),
        }
    }

    /// What a model is loaded with: native, and each step with the pack that is active then.
    pub fn kernels(&self) -> Arc<dyn Kernels> {
        let (native, counters) = (Arc::clone(&self.native), Arc::clone(&self.counters));
        let switch: Arc<dyn Switch> = self.active.clone();
        Arc::new(PackKernels::switching(native, counters, switch))
    }

    /// Which operation ran where.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Reads, verifies and compiles a pack and compares it with the native kernels; the active one stays.
    pub fn check(&self, folder: &Path) -> Result<Pack, LoadError> {
        let ceilings = &self.sandbox.options().ceilings;
        let pack = VerifiedPack::read(folder, &self.trust, ceilings)?.compile(&self.sandbox)?;
        health::check(&pack, &self.native)?;
        Ok(pack)
    }

    /// Reads, verifies and compiles a pack, compares it with the native kernels, and makes it active. Where
    /// anything is wrong, everything stays as it is.
    pub fn activate(&self, folder: &Path, downgrade: Downgrade) -> Result<PackSummary, LoadError> {
        let ceilings = &self.sandbox.options().ceilings;
        let verified = VerifiedPack::read(folder, &self.trust, ceilings)?;
        self.activate_verified(verified, downgrade)
    }

    /// The same for a pack in memory.
    pub fn activate_verified(
        &self,
        verified: VerifiedPack,
        downgrade: Downgrade,
    ) -> Result<PackSummary, LoadError> {
        let pack = verified.compile(&self.sandbox)?;
        let mut floors = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
        let permit = floors.check(&pack, downgrade)?;
        health::check(&pack, &self.native)?;
        floors.set(&pack, &permit)?;
        let (native, counters) = (Arc::clone(&self.native), Arc::clone(&self.counters));
        let kernels = Arc::new(PackKernels::new(native, &pack, counters));
        Ok(self.active.replace(Arc::new(pack), kernels))
    }

    /// Goes back to the pack before, of which the version is accepted again, unless another process has
    /// made a newer one the floor.
    pub fn rollback(&self) -> Result<PackSummary, LoadError> {
        let mut floors = self.floors.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, previous) = self.active.packs();
        let previous = previous.ok_or(LoadError::NoPreviousPack)?;
        // Steps look at the state, and must not wait for the file.
        floors.go_back(current.as_deref(), &previous)?;
        let mut state = self.active.state();
        let is_it = |entry: &Entry| Arc::ptr_eq(&entry.pack, &previous);
        if state
            .previous
            .as_ref()
            .is_some_and(|(entry, _)| is_it(entry))
        {
            state.go_back();
        }
        // Where the one after it broke meanwhile, it came back by itself.
        let current = state.current.as_ref().filter(|entry| is_it(entry));
        current.map(Entry::summary).ok_or(LoadError::NoPreviousPack)
    }

    /// Computes natively from the next step on. The pack can be gone back to.
    pub fn deactivate(&self) {
        let until = (self.active.clock)() + GRACE;
        let mut state = self.active.state();
        if let Some(current) = state.current.take() {
            state.previous = Some((current, until));
        }
    }

    /// The pack that the next step computes with.
    pub fn current(&self) -> Option<PackSummary> {
        self.active.state().current.as_ref().map(Entry::summary)
    }

    /// The pack that [`Self::rollback`] goes back to.
    pub fn previous(&self) -> Option<PackSummary> {
        let state = self.active.state();
        state.previous.as_ref().map(|(entry, _)| entry.summary())
    }

    /// How often a pack broke and the one before came back by itself.
    pub fn automatic_rollbacks(&self) -> u64 {
        self.active.state().automatic_rollbacks
    }
}

impl Active {
    /// The state as of now: without what was kept long enough.
    fn state(&self) -> MutexGuard<'_, State> {
        let now = (self.clock)();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .previous
            .as_ref()
            .is_some_and(|(_, until)| *until <= now)
        {
            state.previous = None;
        }
        state
    }

    /// The one that is active and the one before it.
    fn packs(&self) -> (Option<Arc<Pack>>, Option<Arc<Pack>>) {
        let state = self.state();
        let previous = state.previous.as_ref().map(|(entry, _)| entry);
        let pack = |entry: &Entry| Arc::clone(&entry.pack);
        (state.current.as_ref().map(pack), previous.map(pack))
    }

    fn replace(&self, pack: Arc<Pack>, kernels: Arc<PackKernels>) -> PackSummary {
        let until = (self.clock)() + GRACE;
        let mut state = self.state();
        state.generation += 1;
        let entry = Entry {
            pack,
            kernels,
            generation: state.generation,
        };
        let summary = entry.summary();
        if let Some(previous) = state.current.replace(entry) {
            state.previous = Some((previous, until));
        }
        summary
    }
}

impl State {
    fn go_back(&mut self) {
        if let Some((entry, _)) = self.previous.take() {
            self.current = Some(entry);
        }
    }
}

impl Switch for Active {
    fn active(&self) -> Option<Arc<PackKernels>> {
        // What limits a kernel's time did not come along into a forked process.
        if self.sandbox.ticker().is_elsewhere() {
            return None;
        }
        let mut state = self.state();
        if state.current.as_ref()?.kernels.is_broken() && state.previous.is_some() {
            state.go_back();
            state.automatic_rollbacks += 1;
        }
        state
            .current
            .as_ref()
            .map(|entry| Arc::clone(&entry.kernels))
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Active").finish_non_exhaustive()
    }
}

impl Entry {
    fn summary(&self) -> PackSummary {
        PackSummary {
            generation: self.generation,
            is_broken: self.kernels.is_broken(),
            last_fault: self.kernels.last_fault(),
            ..self.pack.summary()
        }
    }
}
