//! Whether this host is one that a pack was made for: versions, both bounds included, and features.

use semver::Version;

use crate::error::LoadError;
use crate::manifest::{KernelEntry, Manifest};

/// Proposals of WebAssembly that kernels may use here; everything else is switched off.
const FEATURES: [&str; 5] = [
    "simd",
    "relaxed-simd",
    "bulk-memory",
    "multi-value",
    "sign-extension",
];
/// The Wasmtime that this is built with: `Cargo.toml` pins its major version.
const WASMTIME: Version = Version::new(48, 0, 0);

/// What a host is.
#[derive(Debug, Clone)]
pub struct Host {
    /// RuvLLM's version; of a pre-release its `X.Y.Z` counts.
    pub runtime_version: Version,
}

impl Default for Host {
    fn default() -> Self {
        let part = |text: &str| text.parse().unwrap_or(0);
        Self {
            runtime_version: Version::new(
                part(env!("CARGO_PKG_VERSION_MAJOR")),
                part(env!("CARGO_PKG_VERSION_MINOR")),
                part(env!("CARGO_PKG_VERSION_PATCH")),
            ),
        }
    }
}

impl Host {
    /// Refuses a pack that was made for other hosts.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), LoadError> {
        let full = &self.runtime_version;
        let actual = Version::new(full.major, full.minor, full.patch);
        if actual < manifest.min_runtime_version {
            return Err(LoadError::RuntimeTooOld {
                part: "ruvllm",
                required: manifest.min_runtime_version.to_string(),
                actual: full.to_string(),
            });
        }
        if actual > manifest.max_runtime_version {
            return Err(LoadError::RuntimeTooNew {
                max_supported: manifest.max_runtime_version.to_string(),
                actual: full.to_string(),
            });
        }
        manifest.kernels.iter().try_for_each(check_platform)
    }
}

fn check_platform(kernel: &KernelEntry) -> Result<(), LoadError> {
    let missing = |feature: &str| LoadError::MissingFeature {
        kernel: kernel.id.clone(),
        feature: feature.to_owned(),
    };
    let platform = kernel.platforms.wasmtime.as_ref();
    let platform = platform.ok_or_else(|| missing("wasmtime"))?;
    if platform.min_version > WASMTIME {
        return Err(LoadError::RuntimeTooOld {
            part: "wasmtime",
            required: platform.min_version.to_string(),
            actual: WASMTIME.to_string(),
        });
    }
    let mut features = platform.features.iter();
    match features.find(|feature| !FEATURES.contains(&feature.as_str())) {
        Some(feature) => Err(missing(feature)),
        None => Ok(()),
    }
}
