//! Signed kernels of others in the forward pass, in a sandbox.
//!
//! A pack is a folder: `kernels.json`, its signature, WebAssembly modules. Its life: read once ([`files`]),
//! signature over the manifest's bytes ([`signature`]), strict manifest ([`manifest`]), hashes, versions
//! ([`compatibility`]), compiled in a sandbox ([`sandbox`]), compared with the native kernels ([`health`]),
//! swapped in between two steps ([`PackManager`]), called operation by operation ([`PackKernels`]). Where a kernel
//! fails, the native one computes. Core knows nothing of it: it sees a [`ruvllm_kernels::Kernels`].

mod abi;
mod arena;
mod attempts;
mod compatibility;
#[cfg(feature = "compiler")]
mod compiler;
mod counters;
mod device_class;
mod error;
mod files;
mod floor_file;
mod floors;
mod health;
mod instance;
mod kernel;
mod manager;
mod manifest;
mod manifest_check;
mod operations;
mod pack;
mod pack_kernels;
#[cfg(feature = "precompiled")]
mod precompiled;
mod reference;
mod sandbox;
mod signature;
mod strict_map;
mod ticker;
mod traps;
mod trials;

pub use abi::{ABI_VERSION, Inputs, Plane, PlaneMut, PlaneSizes};
pub use arena::Arena;
pub use compatibility::Host;
pub use counters::{CallCounts, Counters, Operation};
pub use device_class::DeviceClass;
pub use error::{KernelError, LoadError};
pub use files::PackPath;
pub use floors::{Downgrade, Floors};
pub use kernel::Kernel;
pub use manager::{Clock, PackManager, PackSummary};
pub use manifest::{Ceilings, KERNEL_IDS, Manifest};
pub use pack::{Pack, Trust, VerifiedPack};
pub use pack_kernels::PackKernels;
pub use sandbox::{Isolation, Sandbox, SandboxOptions};
pub use signature::{PublicKey, SecretKey, TrustedKeys};
pub use ticker::Ticking;
