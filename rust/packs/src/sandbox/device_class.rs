//! The two kinds of machine that run kernels, and what each offers them.
//!
//! A build has one of them or both, by the features `compiler` and `precompiled`; without the first there is no
//! compiler in the program.

use semver::Version;
use wasmparser::WasmFeatures;

use crate::error::LoadError;
use crate::verify::manifest::KernelEntry;

#[cfg(not(any(feature = "compiler", feature = "precompiled")))]
compile_error!("choose how kernels come: the feature `compiler`, `precompiled`, or both");

/// The Wasmtime that this is built with: `Cargo.toml` pins its major version.
const WASMTIME: Version = Version::new(48, 0, 0);

/// What kind of machine kernels run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClass {
    /// Modules are compiled here, to the processor's own instructions.
    #[cfg(feature = "compiler")]
    Server,
    /// Modules were compiled by their author to the instructions of Pulley, which are interpreted: no SIMD, a
    /// stack of 32 KiB.
    #[cfg(feature = "precompiled")]
    Embedded,
}

impl DeviceClass {
    /// Refuses a kernel that was made for other machines.
    pub(crate) fn check(self, kernel: &KernelEntry) -> Result<(), LoadError> {
        match self {
            #[cfg(feature = "compiler")]
            Self::Server => check_wasmtime(kernel),
            #[cfg(feature = "precompiled")]
            Self::Embedded => check_pulley(kernel),
        }
    }

    pub(super) fn stack_bytes(self) -> usize {
        match self {
            // Threads of the host have more.
            #[cfg(feature = "compiler")]
            Self::Server => 256 << 10,
            #[cfg(feature = "precompiled")]
            Self::Embedded => 32 << 10,
        }
    }

    /// Proposals of WebAssembly beyond what all have.
    pub(super) fn own_features(self) -> WasmFeatures {
        match self {
            #[cfg(feature = "compiler")]
            Self::Server => WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD,
            #[cfg(feature = "precompiled")]
            Self::Embedded => WasmFeatures::empty(),
        }
    }
}

fn missing(kernel: &KernelEntry, feature: &str) -> LoadError {
    LoadError::MissingFeature {
        kernel: kernel.id.clone(),
        feature: feature.to_owned(),
    }
}

fn too_old(required: &Version) -> LoadError {
    LoadError::RuntimeTooOld {
        part: "wasmtime",
        required: required.to_string(),
        actual: WASMTIME.to_string(),
    }
}

#[cfg(feature = "compiler")]
fn check_wasmtime(kernel: &KernelEntry) -> Result<(), LoadError> {
    /// By their names in a manifest; everything else is switched off.
    const FEATURES: [&str; 5] = [
        "simd",
        "relaxed-simd",
        "bulk-memory",
        "multi-value",
        "sign-extension",
    ];
    let platform = kernel.platforms.wasmtime.as_ref();
    let platform = platform.ok_or_else(|| missing(kernel, "wasmtime"))?;
    if platform.min_version > WASMTIME {
        return Err(too_old(&platform.min_version));
    }
    let mut features = platform.features.iter();
    match features.find(|feature| !FEATURES.contains(&feature.as_str())) {
        Some(feature) => Err(missing(kernel, feature)),
        None => Ok(()),
    }
}

/// Compiled code fits one release of Wasmtime.
#[cfg(feature = "precompiled")]
fn check_pulley(kernel: &KernelEntry) -> Result<(), LoadError> {
    let platform = kernel.platforms.pulley.as_ref();
    let version = &platform.ok_or_else(|| missing(kernel, "pulley"))?.wasmtime;
    match version.major.cmp(&WASMTIME.major) {
        std::cmp::Ordering::Greater => Err(too_old(version)),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(LoadError::RuntimeTooNew {
            max_supported: format!("{} of wasmtime", version.major),
            actual: WASMTIME.to_string(),
        }),
    }
}
