//! Lets a pack's kernels try, and keeps account: which operation ran where, and what went wrong.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::KernelError;
use crate::pack::Pack;
use crate::sandbox::kernel::Kernel;
use crate::serve::counters::{BROKEN, Counters, Operation, reason_of};

/// The most formats that an operation has kernels for.
const MOST_FORMATS: usize = 2;

/// A kernel's place in the engine: an operation, and which of its [`Operation::kernel_ids`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) operation: Operation,
    pub(crate) format: usize,
}

impl From<Operation> for Place {
    fn from(operation: Operation) -> Self {
        Self {
            operation,
            format: 0,
        }
    }
}

/// How an operation went.
pub(crate) enum Outcome {
    Done,
    /// The native kernel computes.
    Native,
    /// It does, and where its result is finite, the pack's kernel is at fault.
    NotFinite,
}

#[derive(Debug)]
pub(crate) struct Attempts {
    /// By operation and format.
    kernels: [[Option<Arc<Kernel>>; MOST_FORMATS]; Operation::ALL.len()],
    counters: Arc<Counters>,
    last_fault: Mutex<Option<String>>,
}

impl Attempts {
    pub(crate) fn new(pack: &Pack, counters: Arc<Counters>) -> Self {
        let kernels = Operation::ALL.map(|operation| {
            let ids = operation.kernel_ids();
            std::array::from_fn(|format| pack.kernel(ids.get(format)?).map(Arc::clone))
        });
        Self {
            kernels,
            counters,
            last_fault: Mutex::new(None),
        }
    }

    /// Nothing but counting.
    pub(crate) fn without_pack(counters: Arc<Counters>) -> Self {
        Self {
            kernels: Default::default(),
            counters,
            last_fault: Mutex::new(None),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        let mut kernels = self.kernels.as_flattened().iter().flatten();
        kernels.any(|kernel| kernel.is_broken())
    }

    pub(crate) fn last_fault(&self) -> Option<String> {
        self.last_fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn kernel(&self, place: Place) -> Option<&Arc<Kernel>> {
        self.kernels[place.operation as usize][place.format].as_ref()
    }

    /// Whether there is a kernel for that; if not, the call is counted as native.
    pub(crate) fn has(&self, place: impl Into<Place>) -> bool {
        let place = place.into();
        if self.kernel(place).is_none() {
            self.counters.count_native(place.operation);
            return false;
        }
        true
    }

    /// Lets the pack try.
    pub(crate) fn attempt(
        &self,
        place: impl Into<Place>,
        call: impl FnOnce(&Kernel) -> Result<(), KernelError>,
    ) -> Outcome {
        let place = place.into();
        let Some(kernel) = self.kernel(place) else {
            self.counters.count_native(place.operation);
            return Outcome::Native;
        };
        if kernel.is_broken() {
            self.counters.count_native(place.operation);
            self.counters.count_fallback(place.operation, BROKEN);
            return Outcome::Native;
        }
        let Err(error) = call(kernel) else {
            kernel.count(None);
            self.counters.count_pack(place.operation);
            return Outcome::Done;
        };
        self.counters.count_native(place.operation);
        if error == KernelError::NotFinite {
            return Outcome::NotFinite;
        }
        self.blame(place, &error);
        Outcome::Native
    }

    fn blame(&self, place: Place, error: &KernelError) {
        self.counters
            .count_fallback(place.operation, reason_of(error));
        if let Some(kernel) = self.kernel(place) {
            kernel.count(Some(error));
            if error.is_fault() {
                let mut last = self
                    .last_fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *last = Some(format!("{}: {error}", kernel.id()));
            }
        }
    }

    /// NaN and infinities of the inputs are not the kernel's fault; the native result tells.
    pub(crate) fn judge(&self, place: impl Into<Place>, native: &[f32]) {
        if native.iter().all(|value| value.is_finite()) {
            self.blame(place.into(), &KernelError::NotFinite);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MOST_FORMATS;
    use crate::serve::counters::Operation;
    use crate::verify::manifest::KERNEL_IDS;

    /// An id that the manifest does not know would have no kernel, and its operation would silently be native.
    #[test]
    fn every_place_is_a_known_kernels() {
        for operation in Operation::ALL {
            let ids = operation.kernel_ids();
            assert!((1..=MOST_FORMATS).contains(&ids.len()));
            for id in ids {
                assert!(KERNEL_IDS.iter().any(|(known, _)| known == id), "{id}");
            }
        }
    }
}
