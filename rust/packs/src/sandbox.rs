//! Where kernels run and what they may be: a Wasmtime engine with almost everything off.
//!
//! Modules come from the bytes whose hash was checked. Which way, the class of the device tells: a server
//! compiles them, at every load and in this process; a small device takes what was compiled elsewhere.

use std::time::Duration;

use wasmtime::{Engine, ExternType, Module, ValType};

use crate::abi::{INFO, MEMORY};
#[cfg(feature = "compiler")]
use crate::compiler;
use crate::device_class::{self, DeviceClass};
use crate::error::LoadError;
use crate::manifest::{Ceilings, KernelEntry};
#[cfg(feature = "precompiled")]
use crate::precompiled;
use crate::ticker::{Ticker, Ticking};

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

/// An engine for kernels, and its time.
#[derive(Debug)]
pub struct Sandbox {
    engine: Engine,
    ticker: Ticker,
    options: SandboxOptions,
}

/// A kernel's bytes, whose hash was checked.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) entry: KernelEntry,
    pub(crate) bytes: Vec<u8>,
}

impl Sandbox {
    /// Sets up an engine.
    pub fn new(options: SandboxOptions) -> Result<Self, LoadError> {
        let fault = |error: wasmtime::Error| LoadError::Sandbox {
            reason: format!("{error:#}"),
        };
        let engine = Engine::new(&device_class::config(&options)?).map_err(fault)?;
        let ticker = Ticker::new(&engine, options.ticking);
        Ok(Self {
            engine,
            ticker,
            options,
        })
    }

    /// How it was set up.
    pub fn options(&self) -> &SandboxOptions {
        &self.options
    }

    /// Advances time by one tick.
    pub fn tick(&self) {
        self.engine.increment_epoch();
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    /// The modules of these kernels, in their order. The first error of the first kernel that has one counts.
    pub(crate) fn modules(
        &self,
        sources: Vec<Source>,
    ) -> Result<Vec<(KernelEntry, Module)>, LoadError> {
        for source in &sources {
            self.options.class.check(&source.entry)?;
        }
        let modules = match self.options.class {
            #[cfg(feature = "compiler")]
            DeviceClass::Server => compiler::compile(self, sources)?,
            #[cfg(feature = "precompiled")]
            DeviceClass::Embedded => precompiled::load(self, sources)?,
        };
        for (entry, module) in &modules {
            check_exports(module, entry).map_err(|reason| LoadError::Module {
                kernel: entry.id.clone(),
                reason,
            })?;
        }
        Ok(modules)
    }
}

fn check_exports(module: &Module, entry: &KernelEntry) -> Result<(), String> {
    let limits = &entry.resource_limits;
    match module.get_export(MEMORY) {
        Some(ExternType::Memory(memory)) if memory.minimum() > u64::from(limits.memory_pages) => {
            return Err(format!(
                "its memory begins with {} pages, and its limit is {}",
                memory.minimum(),
                limits.memory_pages
            ));
        }
        Some(ExternType::Memory(_)) => {}
        _ => return Err("it exports no memory called \"memory\"".to_owned()),
    }
    for name in [entry.entry_point.as_str(), INFO] {
        let is_right = match module.get_export(name) {
            Some(ExternType::Func(function)) => {
                matches!(function.params().collect::<Vec<_>>()[..], [ValType::I32])
                    && matches!(function.results().collect::<Vec<_>>()[..], [ValType::I32])
            }
            _ => false,
        };
        if !is_right {
            return Err(format!(
                "it exports no function {name:?} from an address to a code"
            ));
        }
    }
    Ok(())
}
