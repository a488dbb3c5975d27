//! Signed kernels of others in the forward pass, in a sandbox.
//!
//! A pack is a folder: `kernels.json`, its signature, WebAssembly modules. Its life: verified from the signature to the
//! versions it fits ([`verify`]), made callable in a sandbox ([`sandbox`], [`pack`]), compared with the native kernels,
//! swapped in between two steps ([`PackManager`]) and called operation by operation ([`PackKernels`]; [`serve`]). Where a
//! kernel fails, the native one computes. Core knows nothing of it: it sees a [`ruvllm_kernels::Kernels`].

mod error;
mod pack;
mod sandbox;
mod serve;
mod verify;

pub use error::{KernelError, LoadError};
pub use pack::{Pack, PackSummary, Trust, VerifiedPack};
pub use sandbox::abi::{ABI_VERSION, Inputs, Plane, PlaneMut, PlaneSizes};
pub use sandbox::arena::Arena;
pub use sandbox::device_class::DeviceClass;
pub use sandbox::kernel::Kernel;
pub use sandbox::ticker::Ticking;
pub use sandbox::{Isolation, Sandbox, SandboxOptions};
pub use serve::counters::{CallCounts, Counters, Operation};
pub use serve::floors::{Downgrade, Floors};
pub use serve::manager::{Clock, PackManager};
pub use serve::pack_kernels::PackKernels;
pub use verify::compatibility::Host;
pub use verify::files::PackPath;
pub use verify::manifest::{Ceilings, KERNEL_IDS, Manifest};
pub use verify::signature::{PublicKey, SecretKey, TrustedKeys};
