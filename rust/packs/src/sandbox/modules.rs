//! From a kernel's bytes to a module that has what it must have. Which way, the class of the device tells: a server
//! compiles, at every load and in this process; a small device takes what was compiled elsewhere.

use wasmtime::{ExternType, Module, ValType};

use super::abi::{INFO, MEMORY};
#[cfg(feature = "compiler")]
use super::compiler;
use super::device_class::DeviceClass;
use super::engine::Sandbox;
#[cfg(feature = "precompiled")]
use super::precompiled;
use super::source::Source;
use crate::error::LoadError;
use crate::verify::manifest::KernelEntry;

impl Sandbox {
    /// The modules of these kernels, in their order. The first error of the first kernel that has one counts.
    pub(crate) fn modules(
        &self,
        sources: Vec<Source>,
    ) -> Result<Vec<(KernelEntry, Module)>, LoadError> {
        for source in &sources {
            self.options().class.check(&source.entry)?;
        }
        let modules = match self.options().class {
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
