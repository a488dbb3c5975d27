//! The least version of each pack that is still accepted, kept in a file, so that nobody serves an old
//! pack again whose faults were repaired since, validly signed as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::pack::Pack;

/// Largest file of floors.
const LARGEST: u64 = 1 << 20;

/// Whether a pack may be older than the one that was active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downgrade {
    /// It may not.
    Refuse,
    /// An operator says so; what is older still is refused again.
    AllowOnce,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floor {
    version: Version,
    /// Of the manifest.
    digest: String,
    signer: String,
}

impl Floor {
    pub(crate) fn of(pack: &Pack) -> Self {
        Self {
            version: pack.version().clone(),
            digest: pack.digest().to_owned(),
            signer: pack.signer().text(),
        }
    }
}

/// The floors by pack name. Without a file they end with the process.
#[derive(Debug, Default)]
pub struct Floors {
    path: Option<PathBuf>,
    by_name: BTreeMap<String, Floor>,
}

impl Floors {
    /// Reads a file; one that is not there yet has no floors, one that is damaged is refused.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let fault = |reason: String| LoadError::Floors {
            path: path.display().to_string(),
            reason,
        };
        let by_name = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(fault(error.to_string())),
            Ok(data) if !data.is_file() || data.len() > LARGEST => {
                return Err(fault("no file of floors".to_owned()));
            }
            Ok(_) => {
                let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
                serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?
            }
        };
        Ok(Self {
            path: Some(path.to_owned()),
            by_name,
        })
    }

    /// Refuses a pack that is older than its floor, other than it was, or another author's.
    pub(crate) fn check(&self, pack: &Pack, downgrade: Downgrade) -> Result<(), LoadError> {
        let Some(floor) = self.by_name.get(pack.name()) else {
            return Ok(());
        };
        let (name, version) = (pack.name().to_owned(), pack.version().to_string());
        if floor.signer != pack.signer().text() {
            return Err(LoadError::OtherOwner {
                name,
                owner: floor.signer.clone(),
                signer: pack.signer().text(),
            });
        }
        if *pack.version() < floor.version && downgrade == Downgrade::Refuse {
            return Err(LoadError::Downgrade {
                name,
                version,
                floor: floor.version.to_string(),
            });
        }
        if *pack.version() == floor.version && floor.digest != pack.digest() {
            return Err(LoadError::OtherContents { name, version });
        }
        Ok(())
    }

    /// Makes a pack that is active now the floor of its name.
    pub(crate) fn set(&mut self, pack: &Pack) -> Result<(), LoadError> {
        let floor = Floor::of(pack);
        if self.by_name.get(pack.name()) == Some(&floor) {
            return Ok(());
        }
        let mut by_name = self.by_name.clone();
        by_name.insert(pack.name().to_owned(), floor);
        if let Some(path) = &self.path {
            write(path, &by_name).map_err(|error| LoadError::Floors {
                path: path.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        self.by_name = by_name;
        Ok(())
    }
}

/// Replaces the file as a whole, so that it is never half written.
fn write(path: &Path, floors: &BTreeMap<String, Floor>) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(floors)?;
    let mut next = path.as_os_str().to_owned();
    next.push(format!(".{}", std::process::id()));
    std::fs::write(&next, text)?;
    let file = std::fs::File::open(&next)?;
    file.sync_all()?;
    std::fs::rename(&next, path)
}
