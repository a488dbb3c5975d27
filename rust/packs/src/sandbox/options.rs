//! How a sandbox is set up, and what that is on each kind of machine.

use std::time::Duration;

use super::device_class::DeviceClass;
use super::ticker::Ticking;
use crate::verify::manifest::Ceilings;

/// How a sandbox is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxOptions {
    /// What kind of machine this is.
    pub class: DeviceClass,
    /// The most that kernels get.
    pub ceilings: Ceilings,
    /// Who advances time for them.
    pub ticking: Ticking,
    /// Whether traps come as signals: faster, but a handler that the process installs later (Python's
    /// `faulthandler`) takes them for crashes.
    pub signal_traps: bool,
    /// How long compiling a pack may take, where it is compiled.
    pub compile_limit: Duration,
    /// What a kernel may find of earlier calls.
    pub isolation: Isolation,
    /// Whether callers may build tensors in kernels' own memory ([`crate::Kernel::arena`]): for packs that the
    /// host trusts to leave their inputs alone.
    pub arenas: bool,
    /// Faults in a row after which a kernel is not called any more.
    pub fault_limit: u32,
}

/// What a kernel may find of earlier calls, which may be another tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing of the tensors; what it wrote elsewhere in its memory stays.
    Tensors,
    /// Nothing: each call has a new instance, which takes some microseconds.
    Instances,
}

#[cfg(feature = "compiler")]
impl Default for SandboxOptions {
    /// A server's.
    fn default() -> Self {
        Self {
            class: DeviceClass::Server,
            ceilings: Ceilings::default(),
            ticking: Ticking::Every(Duration::from_millis(10)),
            signal_traps: false,
            compile_limit: Duration::from_secs(10),
            isolation: Isolation::Tensors,
            arenas: false,
            fault_limit: 3,
        }
    }
}

#[cfg(feature = "precompiled")]
impl SandboxOptions {
    /// A small device's: two pages of memory, a tenth of a second, little of everything else.
    pub fn embedded() -> Self {
        Self {
            class: DeviceClass::Embedded,
            ceilings: Ceilings {
                memory_pages: 2,
                epoch_ticks: 10,
                table_elements: 64,
                module_bytes: 128 << 10,
                functions: 64,
                manifest_bytes: 16 << 10,
            },
            ticking: Ticking::Every(Duration::from_millis(10)),
            signal_traps: false,
            compile_limit: Duration::ZERO,
            isolation: Isolation::Tensors,
            arenas: false,
            fault_limit: 3,
        }
    }
}
