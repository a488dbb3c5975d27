//! Packs of compiled kernels, signed on the spot; the kernels are those that `precompile` made of the texts
//! beside them.

use std::sync::Arc;

use ruvllm_packs::{
    Inputs, KernelError, LoadError, Pack, Plane, PlaneMut, Sandbox, SandboxOptions, SecretKey,
    Trust, TrustedKeys, VerifiedPack,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const RMS_NORM: &[u8] = include_bytes!("rmsnorm.cwasm");

/// A pack before it is loaded.
pub(crate) struct Files {
    pub(crate) manifest: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) module: Vec<u8>,
}

pub(crate) fn manifest_of(module: &[u8]) -> Value {
    let digits = format!("{:x}", Sha256::digest(module));
    json!({
        "$schema": "https://ruvllm.dev/schemas/kernel-pack-v1.json", "version": "1.0.0", "name": "small",
        "min_runtime_version": "0.1.0", "max_runtime_version": "9.0.0", "created_at": "2026-01-01T00:00:00Z",
        "author": {"name": "tests", "signing_key": key().public().text()},
        "kernels": [{
            "id": "rmsnorm_f32", "name": "RMSNorm", "category": "normalization", "path": "kernel.cwasm",
            "hash": format!("sha256:{digits}"), "inputs": [], "outputs": [],
            "resource_limits": {"max_memory_pages": 2, "max_epoch_ticks": 10, "max_table_elements": 0},
            "platforms": {"pulley": {"wasmtime": "48.0.0"}},
        }],
    })
}

pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

pub(crate) fn signed(manifest: &Value, module: &[u8]) -> Files {
    let manifest = serde_json::to_vec(manifest).unwrap();
    Files {
        signature: key().sign(&manifest).to_vec(),
        manifest,
        module: module.to_vec(),
    }
}

pub(crate) fn trust() -> Trust {
    let text = key().public().text();
    Trust {
        keys: TrustedKeys::parse([text.as_str()], []).unwrap(),
        ..Trust::default()
    }
}

/// What a device does: check everything, then load.
pub(crate) fn load(files: &Files, trust: &Trust) -> Result<Pack, LoadError> {
    let options = SandboxOptions::embedded();
    let names: [(&str, &[u8]); 3] = [
        ("kernels.json", &files.manifest),
        ("kernels.json.sig", &files.signature),
        ("kernel.cwasm", &files.module),
    ];
    let verified = VerifiedPack::of_files(&names, trust, &options.ceilings)?;
    verified.compile(&Arc::new(Sandbox::new(options)?))
}

/// RMSNorm of rows of the weight's width, without epsilon.
pub(crate) fn rms_norm(
    pack: &Pack,
    (input, weight): (&[f32], &[f32]),
    output: &mut [f32],
) -> Result<(), KernelError> {
    let rows = (input.len() / weight.len()) as u32;
    let params = [rows, weight.len() as u32, 0, 0, 16].map(u32::to_le_bytes);
    let inputs = Inputs {
        a: Some(Plane::Floats(input)),
        b: &[Plane::Floats(weight)],
        scratch_bytes: 0,
        params: params.as_flattened(),
    };
    let kernel = pack.kernel("rmsnorm_f32").unwrap();
    kernel.call(&inputs, &mut PlaneMut::Floats(output))
}
