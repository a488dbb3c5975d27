//! A kernel that can be called from many threads: its instances, its breaker.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use wasmtime::Module;

use crate::error::{KernelError, LoadError};
use crate::sandbox::abi::{Inputs, PlaneMut};
use crate::sandbox::instance::{Code, Instance};
use crate::sandbox::{Isolation, Sandbox};
use crate::verify::manifest::KernelEntry;

/// Calls of one kernel that may be under way at once; more than that compute natively.
const MOST_INSTANCES: usize = 64;

/// A compiled kernel of a pack.
pub struct Kernel {
    id: String,
    sandbox: Arc<Sandbox>,
    code: Code,
    /// A thread looks first at the place that its number gives it, so it mostly meets its own instance.
    places: Box<[Mutex<Option<Instance>>]>,
    params_bytes: usize,
    faults_in_a_row: AtomicU32,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Kernel")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Makes the first instance, so that what cannot be instantiated is refused when it is loaded.
    pub(crate) fn new(
        sandbox: &Arc<Sandbox>,
        entry: KernelEntry,
        module: Module,
    ) -> Result<Self, LoadError> {
        let code = Code {
            module,
            entry_point: entry.entry_point,
            limits: entry.resource_limits,
        };
        let call = sandbox.ticker().enter().ok_or(LoadError::Sandbox {
            reason: "no thread for the limits of time".to_owned(),
        })?;
        let first = Instance::new(sandbox, &code).map_err(|error| LoadError::Module {
            kernel: entry.id.clone(),
            reason: error.to_string(),
        })?;
        drop(call);
        Ok(Self {
            id: entry.id,
            sandbox: Arc::clone(sandbox),
            code,
            params_bytes: first.info().params_bytes,
            places: (0..MOST_INSTANCES).map(|_| Mutex::new(None)).collect(),
            faults_in_a_row: AtomicU32::new(0),
        })
    }

    /// Its id in the manifest.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How long its parameters are.
    pub fn params_bytes(&self) -> usize {
        self.params_bytes
    }

    /// Whether it failed so often in a row that it is not to be called any more.
    pub fn is_broken(&self) -> bool {
        self.faults_in_a_row.load(Ordering::Relaxed) >= self.sandbox.options().fault_limit
    }

    /// Calls it. `output` changes only if the call succeeds.
    pub fn call(&self, inputs: &Inputs<'_>, output: &mut PlaneMut<'_>) -> Result<(), KernelError> {
        let mut place = self.free_place()?;
        let _call = self.sandbox.ticker().enter().ok_or(KernelError::Busy)?;
        let instance = self.instance_at(&mut place);
        let result = instance.and_then(|instance| instance.call(inputs, output));
        if result.is_err() || self.sandbox.options().isolation == Isolation::Instances {
            *place = None;
        }
        result
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The instance at a place, which is made where there is none.
    pub(crate) fn instance_at<'a>(
        &self,
        place: &'a mut Option<Instance>,
    ) -> Result<&'a mut Instance, KernelError> {
        Ok(match place {
            Some(instance) => instance,
            None => place.insert(Instance::new(&self.sandbox, &self.code)?),
        })
    }

    /// Tells the breaker how a call went.
    pub(crate) fn count(&self, error: Option<&KernelError>) {
        match error {
            Some(error) if error.is_fault() => {
                // Stays where it is rather than beginning anew.
                let add = |faults: u32| faults.checked_add(1);
                let _ =
                    self.faults_in_a_row
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
            Some(_) => {}
            None if self.faults_in_a_row.load(Ordering::Relaxed) == 0 => {}
            None => self.faults_in_a_row.store(0, Ordering::Relaxed),
        }
    }

    /// A place that nobody uses.
    pub(crate) fn free_place(&self) -> Result<MutexGuard<'_, Option<Instance>>, KernelError> {
        let first = thread_number();
        for step in 0..self.places.len() {
            match self.places[(first + step) % self.places.len()].try_lock() {
                Ok(place) => return Ok(place),
                // Its caller panicked in the middle, and so did what is there.
                Err(TryLockError::Poisoned(poisoned)) => {
                    let mut place = poisoned.into_inner();
                    *place = None;
                    return Ok(place);
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
        Err(KernelError::Busy)
    }
}

/// A number of this thread, the same for all kernels.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.with(Cell::get)
}
