//! Whether this is a version that a pack was made for; both bounds are included.

use semver::Version;

use crate::error::LoadError;
use crate::verify::manifest::Manifest;

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
        Ok(())
    }
}
