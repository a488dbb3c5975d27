//! Packs made by tests: a manifest that can be bent, files that can be swapped, a key of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ruvllm_kernels::Kernels;
use ruvllm_packs::{
    Downgrade, Floors, Host, LoadError, Pack, PackManager, Sandbox, SandboxOptions, SecretKey,
    Ticking, Trust, TrustedKeys, VerifiedPack,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kernels::{binary, rms_norm};

/// A key for tests; every number is another key.
pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digits = format!("{:x}", Sha256::digest(bytes));
    format!("sha256:{digits}")
}

/// A pack before it is written.
pub(crate) struct TestPack {
    pub(crate) manifest: Value,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) key: SecretKey,
}

impl TestPack {
    /// A pack of these kernels, signed with key 1.
    pub(crate) fn new(kernels: &[(&str, Vec<u8>)]) -> Self {
        let entry = |(id, bytes): &(&str, Vec<u8>)| {
            json!({
                "id": id, "name": id, "category": "test", "path": format!("k/{id}.wasm"), "hash": sha256(bytes),
                "inputs": [{"name": "x", "dtype": "f32", "shape": ["rows", 4]}],
                "outputs": [{"name": "y", "dtype": "f32", "shape": ["rows", 4]}],
                "params": {"epsilon": {"type": "f32", "default": 1e-5}},
                "resource_limits": {"max_memory_pages": 16, "max_epoch_ticks": 200, "max_table_elements": 16},
                "platforms": {"wasmtime": {"min_version": "15.0.0", "features": ["simd"]}},
            })
        };
        let manifest = json!({
            "$schema": "https://ruvllm.dev/schemas/kernel-pack-v1.json",
            "version": "1.0.0", "name": "test", "description": "for tests",
            "min_runtime_version": "0.1.0", "max_runtime_version": "1.0.0", "created_at": "2026-01-01T00:00:00Z",
            "author": {"name": "tests", "email": "", "signing_key": key(1).public().text()},
            "kernels": kernels.iter().map(entry).collect::<Vec<_>>(),
            "fallbacks": {},
        });
        let files = kernels
            .iter()
            .map(|(id, bytes)| (format!("k/{id}.wasm"), bytes.clone()));
        Self {
            manifest,
            files: files.collect(),
            key: key(1),
        }
    }

    /// One RMSNorm that is right but for its trick.
    pub(crate) fn rms_norm(trick: &str) -> Self {
        Self::new(&[("rmsnorm_f32", binary(&rms_norm(trick)))])
    }

    /// One kernel of this text.
    pub(crate) fn of(text: &str) -> Self {
        Self::new(&[("rmsnorm_f32", binary(text))])
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.manifest["version"] = json!(version);
        self
    }

    /// The manifest with one place changed.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.manifest.pointer_mut(pointer).expect(pointer) = value;
        self
    }

    /// With another budget of time.
    pub(crate) fn with_ticks(mut self, ticks: u64) -> Self {
        self.manifest["kernels"][0]["resource_limits"]["max_epoch_ticks"] = json!(ticks);
        self
    }

    /// With another entry point in the manifest.
    pub(crate) fn with_entry(mut self, name: &str) -> Self {
        self.manifest["kernels"][0]["entry_point"] = json!(name);
        self
    }

    pub(crate) fn signed_by(mut self, number: u8) -> Self {
        self.key = key(number);
        self.with("/author/signing_key", json!(key(number).public().text()))
    }

    pub(crate) fn manifest_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.manifest).unwrap()
    }

    /// Writes everything to a new folder.
    pub(crate) fn write(&self) -> Folder {
        self.write_manifest(&self.manifest_bytes())
    }

    /// The same with other bytes as the manifest, rightly signed.
    pub(crate) fn write_manifest(&self, manifest: &[u8]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.put("kernels.json", manifest);
        folder.put("kernels.json.sig", &self.key.sign(manifest));
        for (path, bytes) in &self.files {
            folder.put(path, bytes);
        }
        folder
    }

    /// What reading it says, with key 1 trusted.
    pub(crate) fn verify(&self) -> Result<VerifiedPack, LoadError> {
        self.write().verify()
    }

    pub(crate) fn load(&self) -> Result<Pack, LoadError> {
        self.load_in(&sandbox())
    }

    pub(crate) fn load_in(&self, sandbox: &Arc<Sandbox>) -> Result<Pack, LoadError> {
        self.verify()?.compile(sandbox)
    }

    pub(crate) fn activate(&self, manager: &PackManager) -> Result<(), LoadError> {
        manager
            .activate(self.write().path(), Downgrade::Refuse)
            .map(|_| ())
    }
}

/// A pack on disk.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        let full = self.file(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, bytes).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.file(path)).unwrap()
    }

    pub(crate) fn verify(&self) -> Result<VerifiedPack, LoadError> {
        VerifiedPack::read(self.path(), &trust(), &options().ceilings)
    }
}

/// Key 1, and a host of version 0.5.0.
pub(crate) fn trust() -> Trust {
    trusting(&[1], &[])
}

pub(crate) fn trusting(trusted: &[u8], revoked: &[u8]) -> Trust {
    let texts = |numbers: &[u8]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| key(*number).public().text())
            .collect()
    };
    let (trusted, revoked) = (texts(trusted), texts(revoked));
    Trust {
        keys: TrustedKeys::parse(
            trusted.iter().map(String::as_str),
            revoked.iter().map(String::as_str),
        )
        .unwrap(),
        host: Host {
            runtime_version: "0.5.0".parse().unwrap(),
        },
    }
}

/// Time passes fast: 200 ticks, which tests' kernels have, are 0.2 s. Less, and a call that has to wait for a
/// busy machine's processor takes too long.
pub(crate) fn options() -> SandboxOptions {
    SandboxOptions {
        ticking: Ticking::Every(Duration::from_millis(1)),
        // Cranelift itself is not optimized in tests.
        compile_limit: Duration::from_mins(5),
        ..SandboxOptions::default()
    }
}

pub(crate) fn sandbox() -> Arc<Sandbox> {
    Arc::new(Sandbox::new(options()).unwrap())
}

pub(crate) fn native() -> Arc<dyn Kernels> {
    ruvllm_kernels::best()
}

pub(crate) fn manager() -> PackManager {
    PackManager::new(sandbox(), trust(), native(), Floors::default())
}

/// The error, with a word for what came instead.
pub(crate) fn refused<T>(result: Result<T, LoadError>) -> LoadError {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

/// RMSNorm of some rows with weight 1 to `columns`.
pub(crate) fn norm(kernels: &dyn Kernels, rows: usize, columns: usize) -> Vec<f32> {
    let input: Vec<f32> = (0..rows * columns)
        .map(|index| (index % 17) as f32 - 7.5)
        .collect();
    let weight: Vec<f32> = (0..columns).map(|index| index as f32 / 8.0 + 1.0).collect();
    let mut output = vec![0.0; input.len()];
    kernels.rms_norm(&input, &weight, 1e-5, &mut output);
    output
}

pub(crate) fn close(found: &[f32], expected: &[f32]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() <= 1e-6 + 2e-5 * b.abs())
}
