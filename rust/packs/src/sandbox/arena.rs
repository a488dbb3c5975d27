//! Tensors that live in a kernel's own memory: for packs that the host trusts, nothing is copied.
//!
//! What copying protects is given up here while a caller has the arena: the kernel can write over its inputs,
//! and finds what its last call left. Nothing comes from or goes to another caller: an arena begins
//! with zeros and ends with zeros, and nobody else has its instance meanwhile.

use std::sync::MutexGuard;

use crate::error::KernelError;
use crate::sandbox::Isolation;
use crate::sandbox::abi::{Layout, PlaneSizes};
use crate::sandbox::instance::Instance;
use crate::sandbox::kernel::Kernel;

/// A call's planes in the memory of a kernel, for one caller. See [`Kernel::arena`].
pub struct Arena<'a> {
    kernel: &'a Kernel,
    /// Has an instance as long as there is the arena.
    place: MutexGuard<'a, Option<Instance>>,
    layout: Layout,
    params: Vec<u8>,
}

impl std::fmt::Debug for Arena<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Arena")
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Room in the kernel's memory for the planes of calls with these parameters. Refused unless the host
    /// was set up with [`crate::SandboxOptions::arenas`]; no manifest can ask for it.
    pub fn arena(&self, sizes: PlaneSizes, params: &[u8]) -> Result<Arena<'_>, KernelError> {
        if !self.sandbox().options().arenas {
            return Err(KernelError::Instance {
                reason: "arenas are for packs that the host trusts, and its option `arenas` is off"
                    .to_owned(),
            });
        }
        let _call = self.sandbox().ticker().enter().ok_or(KernelError::Busy)?;
        let mut place = self.free_place()?;
        let layout = self.instance_at(&mut place)?.lay_out(sizes, params.len())?;
        Ok(Arena {
            kernel: self,
            place,
            layout,
            params: params.to_vec(),
        })
    }
}

impl Arena<'_> {
    /// Input A. Where the kernel works in place, and both have one size, the output is here as well.
    pub fn input_a(&mut self) -> &mut [u8] {
        let range = self.layout.a();
        self.bytes_mut(range)
    }

    /// Input B.
    pub fn input_b(&mut self) -> &mut [u8] {
        let range = self.layout.b();
        self.bytes_mut(range)
    }

    /// What the last call left, or for kernels that add to their output what they add to.
    pub fn output(&mut self) -> &mut [u8] {
        let range = self.layout.output();
        self.bytes_mut(range)
    }

    /// Calls the kernel. It gives the arena back with the result in it; after an error there is no arena any
    /// more, and no instance. Whether the numbers are finite is not looked at.
    pub fn call(mut self) -> Result<Self, KernelError> {
        let kernel = self.kernel;
        let _call = kernel.sandbox().ticker().enter().ok_or(KernelError::Busy)?;
        let Some(instance) = self.place.as_mut() else {
            return Err(KernelError::Busy);
        };
        match instance.call_in_place(&self.layout, &self.params) {
            Ok(()) => Ok(self),
            Err(error) => {
                *self.place = None;
                Err(error)
            }
        }
    }

    fn bytes_mut(&mut self, range: std::ops::Range<usize>) -> &mut [u8] {
        match self.place.as_mut() {
            Some(instance) => instance.bytes_mut(range),
            None => &mut [],
        }
    }
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        if self.kernel.sandbox().options().isolation == Isolation::Instances {
            *self.place = None;
        }
        if let Some(instance) = self.place.as_mut() {
            instance.clear();
        }
    }
}
