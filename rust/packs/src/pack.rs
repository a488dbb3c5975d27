//! From a folder to callable kernels, in two steps: verified bytes, then compiled code.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use semver::Version;
use sha2::{Digest, Sha256};

use crate::error::LoadError;
use crate::sandbox::kernel::Kernel;
use crate::sandbox::{Sandbox, Source};
use crate::verify::compatibility::Host;
use crate::verify::files::{PackFolder, PackPath};
use crate::verify::manifest::{Ceilings, Manifest};
use crate::verify::signature::{PublicKey, TrustedKeys};

const MANIFEST: &str = "kernels.json";
const SIGNATURE: &str = "kernels.json.sig";
/// More than a signature has, so that one that is too long is called that.
const SIGNATURE_LIMIT: u64 = 4096;

/// Whom a host believes, and what it is.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Whose packs it runs.
    pub keys: TrustedKeys,
    /// What packs must fit.
    pub host: Host,
}

/// What there is to say of a pack that is or was active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSummary {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Who signed it.
    pub signer: String,
    /// The hash of its manifest.
    pub digest: String,
    /// Its kernels' ids.
    pub kernels: Vec<String>,
    /// Counts activations.
    pub generation: u64,
    /// Whether one of its kernels is not called any more.
    pub is_broken: bool,
    /// What went wrong last.
    pub last_fault: Option<String>,
}

/// A pack whose signature, hashes and versions are right, in memory: the folder is not read again.
#[derive(Debug, Clone)]
pub struct VerifiedPack {
    manifest: Manifest,
    signer: PublicKey,
    digest: String,
    sources: Vec<Source>,
}

impl VerifiedPack {
    /// Reads every file once, and checks that all of it is what a trusted author signed.
    pub fn read(folder: &Path, trust: &Trust, ceilings: &Ceilings) -> Result<Self, LoadError> {
        let folder = PackFolder::open(folder)?;
        Self::take(trust, ceilings, |path, limit| folder.read(path, limit))
    }

    /// The same out of files in memory, by their paths: for devices that have no folders.
    pub fn of_files(
        files: &[(&str, &[u8])],
        trust: &Trust,
        ceilings: &Ceilings,
    ) -> Result<Self, LoadError> {
        Self::take(trust, ceilings, |path, limit| {
            let found = files.iter().find(|(name, _)| *name == path.as_str());
            let (name, bytes) = found.ok_or_else(|| LoadError::File {
                path: path.as_str().to_owned(),
                reason: "it is not there".to_owned(),
            })?;
            if bytes.len() as u64 > limit {
                let path = (*name).to_owned();
                return Err(LoadError::TooLarge { path, limit });
            }
            Ok(bytes.to_vec())
        })
    }

    /// Reads files with `read`, each once and none larger than a limit.
    fn take(
        trust: &Trust,
        ceilings: &Ceilings,
        read: impl Fn(&PackPath, u64) -> Result<Vec<u8>, LoadError>,
    ) -> Result<Self, LoadError> {
        let bytes = read(&PackPath::new(MANIFEST)?, ceilings.manifest_bytes)?;
        let signature = read(&PackPath::new(SIGNATURE)?, SIGNATURE_LIMIT)?;
        let signer = trust.keys.verify(&bytes, &signature)?;
        let manifest = Manifest::parse(&bytes, ceilings)?;
        if manifest.author.signing_key != signer.text() {
            return Err(LoadError::OtherAuthor {
                stated: manifest.author.signing_key.chars().take(80).collect(),
                actual: signer.text(),
            });
        }
        trust.host.check(&manifest)?;
        let mut sources = Vec::new();
        for entry in &manifest.kernels {
            let bytes = read(&PackPath::new(&entry.path)?, ceilings.module_bytes)?;
            let actual = digest(&bytes);
            if actual != entry.hash {
                return Err(LoadError::HashMismatch {
                    kernel: entry.id.clone(),
                    expected: entry.hash.clone(),
                    actual,
                });
            }
            let entry = entry.clone();
            sources.push(Source { entry, bytes });
        }
        Ok(Self {
            digest: digest(&bytes),
            manifest,
            signer,
            sources,
        })
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The hash of its manifest, which has the hashes of everything else.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Makes kernels of the bytes that were checked.
    pub fn compile(self, sandbox: &Arc<Sandbox>) -> Result<Pack, LoadError> {
        let mut kernels = BTreeMap::new();
        for (entry, module) in sandbox.modules(self.sources)? {
            let kernel = Kernel::new(sandbox, entry, module)?;
            kernels.insert(kernel.id().to_owned(), Arc::new(kernel));
        }
        Ok(Pack {
            name: self.manifest.name,
            version: self.manifest.version,
            signer: self.signer,
            digest: self.digest,
            kernels,
        })
    }
}

/// `sha256:` and the hash in hexadecimal digits.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// A compiled pack.
#[derive(Debug)]
pub struct Pack {
    name: String,
    version: Version,
    signer: PublicKey,
    digest: String,
    kernels: BTreeMap<String, Arc<Kernel>>,
}

impl Pack {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The hash of its manifest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The kernel of that id.
    pub fn kernel(&self, id: &str) -> Option<&Arc<Kernel>> {
        self.kernels.get(id)
    }

    /// All kernels, in the order of their ids.
    pub fn kernels(&self) -> impl Iterator<Item = &Arc<Kernel>> {
        self.kernels.values()
    }

    /// What there is to say of it while it is not active.
    pub fn summary(&self) -> PackSummary {
        PackSummary {
            name: self.name.clone(),
            version: self.version.to_string(),
            signer: self.signer.text(),
            digest: self.digest.clone(),
            kernels: self.kernels.keys().cloned().collect(),
            generation: 0,
            is_broken: false,
            last_fault: None,
        }
    }
}
