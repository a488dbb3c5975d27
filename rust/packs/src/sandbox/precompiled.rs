//! Modules that come compiled, for machines without a compiler: deserialized from bytes that a trusted key signed.
//!
//! Whoever signs such a pack is trusted with the process, and not only with numbers: Pulley's instructions
//! are carried out as they stand, and nothing checks them as a compiler checks WebAssembly.

use wasmtime::{Engine, Module};

use crate::error::LoadError;
use crate::sandbox::{Sandbox, Source};
use crate::verify::manifest::KernelEntry;

/// Takes in kernels one by one, and lets go of each one's bytes.
pub(crate) fn load(
    sandbox: &Sandbox,
    sources: Vec<Source>,
) -> Result<Vec<(KernelEntry, Module)>, LoadError> {
    let one = |source| load_one(sandbox.engine(), source);
    sources.into_iter().map(one).collect()
}

#[expect(
    unsafe_code,
    reason = "compiled code cannot be checked, only its author"
)]
fn load_one(engine: &Engine, source: Source) -> Result<(KernelEntry, Module), LoadError> {
    let fault = |reason: String| LoadError::Module {
        kernel: source.entry.id.clone(),
        reason,
    };
    // WebAssembly is no ELF file either; this error says what to do.
    if !source.bytes.starts_with(b"\x7fELF") {
        return Err(fault(
            "no compiled module; this device has no compiler".to_owned(),
        ));
    }
    // SAFETY: the bytes must be what a Wasmtime compiler gave, unchanged. A `Source` comes only out of
    // `VerifiedPack`: a trusted key signed (`verify_strict`) the manifest that has the SHA-256 of these very bytes,
    // held in memory since, and says (`platforms.pulley`, without which nobody comes here) that
    // they are what `Sandbox::precompile` makes. That this is true is what trusting the key means. Another version or
    // configuration of Wasmtime is told from the file's head and refused.
    let module = unsafe { Module::deserialize(engine, &source.bytes) };
    let module = module.map_err(|error| fault(format!("{error:#}")))?;
    Ok((source.entry, module))
}

#[cfg(feature = "compiler")]
impl Sandbox {
    /// Compiles a module for devices without a compiler; the sandbox is one of theirs.
    pub fn precompile(&self, module: &[u8]) -> Result<Vec<u8>, String> {
        crate::sandbox::compiler::inspect(module, &self.options().ceilings)?;
        let compiled = self.engine().precompile_module(module);
        compiled.map_err(|error| format!("{error:#}"))
    }
}
