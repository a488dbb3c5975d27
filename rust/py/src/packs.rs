//! `KernelPacks`: signed kernels in the forward pass, and one of them by itself.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ruvllm_packs::{
    Downgrade, Floors, Inputs, Kernel, LoadError, Operation, Pack, PackManager, Plane, PlaneMut,
    Sandbox, SandboxOptions, SecretKey, Trust, TrustedKeys,
};

use crate::run::run;
use crate::system::choose_kernels;

import_exception!(ruvllm.errors, KernelError);
import_exception!(ruvllm.errors, PackError);

/// The variant's name, which programs look at: `HashMismatch`, `EpochDeadline`, ...
fn variant(error: &dyn std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split([' ', '(', '{'])
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn refused(py: Python<'_>, error: &LoadError) -> PyErr {
    let raised = PackError::new_err(error.to_string());
    match raised.value(py).setattr("reason", variant(error)) {
        Ok(()) => raised,
        Err(other) => other,
    }
}

fn failed(py: Python<'_>, error: &ruvllm_packs::KernelError) -> PyErr {
    let raised = KernelError::new_err(error.to_string());
    let code = match error {
        ruvllm_packs::KernelError::KernelTrap { code, .. } => Some(*code),
        _ => None,
    };
    let value = raised.value(py);
    let set = value.setattr("kind", variant(error));
    match set.and_then(|()| value.setattr("code", code)) {
        Ok(()) => raised,
        Err(other) => other,
    }
}

/// What there is to say of a pack.
#[pyclass(frozen, get_all, module = "ruvllm._native")]
pub(crate) struct PackSummary {
    name: String,
    version: String,
    signer: String,
    digest: String,
    kernels: Vec<String>,
    generation: u64,
    is_broken: bool,
    last_fault: Option<String>,
}

impl From<ruvllm_packs::PackSummary> for PackSummary {
    fn from(one: ruvllm_packs::PackSummary) -> Self {
        Self {
            name: one.name,
            version: one.version,
            signer: one.signer,
            digest: one.digest,
            kernels: one.kernels,
            generation: one.generation,
            is_broken: one.is_broken,
            last_fault: one.last_fault,
        }
    }
}

/// The kernel packs of a process: verified, compiled, swapped between two steps.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct KernelPacks(pub(crate) Arc<PackManager>);

type Checked<T> = Result<T, LoadError>;

impl KernelPacks {
    fn checked<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&PackManager) -> Checked<T> + Send,
    ) -> PyResult<T> {
        run(py, || Ok(work(&self.0)))?.map_err(|error| refused(py, &error))
    }
}

#[pymethods]
impl KernelPacks {
    #[new]
    #[pyo3(signature = (*, trusted_keys, floors=None, isa=None))]
    fn new(
        py: Python<'_>,
        trusted_keys: Vec<String>,
        floors: Option<PathBuf>,
        isa: Option<&str>,
    ) -> PyResult<Self> {
        let native = choose_kernels(isa).map_err(|error| crate::errors::exception(&error))?;
        let made = || -> Checked<PackManager> {
            let keys = TrustedKeys::parse(trusted_keys.iter().map(String::as_str), [])?;
            let trust = Trust {
                keys,
                ..Trust::default()
            };
            let floors = floors.as_deref().map(Floors::open).transpose()?;
            let sandbox = Arc::new(Sandbox::new(SandboxOptions::default())?);
            Ok(PackManager::new(
                sandbox,
                trust,
                native,
                floors.unwrap_or_default(),
            ))
        };
        made()
            .map(|manager| Self(Arc::new(manager)))
            .map_err(|error| refused(py, &error))
    }

    fn verify(&self, py: Python<'_>, path: PathBuf) -> PyResult<PackSummary> {
        let summary = self.checked(py, |packs| Ok(packs.check(&path)?.summary()))?;
        Ok(summary.into())
    }

    fn activate(
        &self,
        py: Python<'_>,
        path: PathBuf,
        allow_downgrade: bool,
    ) -> PyResult<PackSummary> {
        let downgrade = if allow_downgrade {
            Downgrade::AllowOnce
        } else {
            Downgrade::Refuse
        };
        Ok(self
            .checked(py, |packs| packs.activate(&path, downgrade))?
            .into())
    }

    fn rollback(&self, py: Python<'_>) -> PyResult<PackSummary> {
        Ok(self.checked(py, PackManager::rollback)?.into())
    }

    fn deactivate(&self) {
        self.0.deactivate();
    }

    fn current(&self) -> Option<PackSummary> {
        self.0.current().map(Into::into)
    }

    fn previous(&self) -> Option<PackSummary> {
        self.0.previous().map(Into::into)
    }

    fn calls(&self) -> Vec<(&'static str, u64, u64, BTreeMap<&'static str, u64>)> {
        let counts = |operation: Operation| (operation.name(), self.0.counters().of(operation));
        Operation::ALL
            .into_iter()
            .map(counts)
            .map(|(name, calls)| (name, calls.pack, calls.native, calls.fallbacks))
            .collect()
    }

    #[getter]
    fn automatic_rollbacks(&self) -> u64 {
        self.0.automatic_rollbacks()
    }

    fn kernel(&self, py: Python<'_>, path: PathBuf, kernel_id: &str) -> PyResult<PackKernel> {
        let pack: Pack = self.checked(py, |packs| packs.check(&path))?;
        let kernel = pack.kernel(kernel_id).map(Arc::clone);
        kernel
            .map(PackKernel)
            .ok_or_else(|| PyValueError::new_err(format!("the pack has no kernel {kernel_id:?}")))
    }
}

/// One kernel of a verified pack.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct PackKernel(Arc<Kernel>);

#[pymethods]
impl PackKernel {
    #[getter]
    fn id(&self) -> &str {
        self.0.id()
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the planes of the binary interface, one by one"
    )]
    #[pyo3(signature = (a, b, params, output, scratch_bytes=0))]
    fn call<'py>(
        &self,
        py: Python<'py>,
        a: PyReadonlyArray1<'py, u8>,
        b: Option<PyReadonlyArray1<'py, u8>>,
        params: &[u8],
        output: PyReadonlyArray1<'py, u8>,
        scratch_bytes: usize,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let mut result = output.as_slice()?.to_vec();
        let (a, b) = (a.as_slice()?, b.as_ref().map(|b| b.as_slice()).transpose()?);
        let planes: Vec<Plane<'_>> = b.into_iter().map(Plane::Bytes).collect();
        let inputs = Inputs {
            a: Some(Plane::Bytes(a)),
            b: &planes,
            scratch_bytes,
            params,
        };
        let outcome = run(py, || {
            Ok(self.0.call(&inputs, &mut PlaneMut::Bytes(&mut result)))
        })?;
        outcome.map_err(|error| failed(py, &error))?;
        Ok(PyArray1::from_vec(py, result))
    }
}

fn secret(bytes: &[u8]) -> PyResult<SecretKey> {
    let bytes = bytes
        .try_into()
        .map_err(|_| PyValueError::new_err("a secret key has 32 bytes"))?;
    Ok(SecretKey::from_bytes(bytes))
}

#[pyfunction]
#[pyo3(name = "sign_manifest")]
pub(crate) fn sign<'py>(
    py: Python<'py>,
    key: &[u8],
    manifest: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &secret(key)?.sign(manifest)))
}

#[pyfunction]
pub(crate) fn public_key(key: &[u8]) -> PyResult<String> {
    Ok(secret(key)?.public().text())
}
