//! `EngineMemory`: an engine's pool and prefix cache, and how they are set up.

use std::io::BufReader;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use ruvllm_core::engine::{Engine, EngineConfig};
use ruvllm_core::kv::KvWanted;
use ruvllm_core::memory::Watermarks;
use ruvllm_core::prefix::PrefixLimits;
use ruvllm_core::{Error, Result};

use crate::prefix::{PoolStats, PrefixStats};
use crate::prefix_file::{PrefixSnapshot, PythonFile};
use crate::run::{lock, run};

/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

/// How a cache is to be kept: a format, tokens of its tail, and the tail's format.
pub(crate) type KvNames = (String, Option<usize>, Option<String>);

pub(crate) fn kv_wanted((format, tail, tail_format): &KvNames) -> Result<KvWanted> {
    KvWanted::named(format, *tail, tail_format.as_deref())
}

/// How an engine's memory is set up; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct MemorySettings {
    max_context: usize,
    kv_bytes: usize,
    kv: KvNames,
    prefix_bytes: usize,
    prefix_entries: usize,
    high_watermark: f64,
    low_watermark: f64,
}

impl MemorySettings {
    pub(crate) fn config(&self) -> Result<EngineConfig> {
        Ok(EngineConfig {
            max_context: self.max_context,
            kv_bytes: self.kv_bytes,
            kv: kv_wanted(&self.kv)?,
            prefix: PrefixLimits {
                max_bytes: self.prefix_bytes,
                max_entries: self.prefix_entries,
            },
            watermarks: Watermarks {
                high: self.high_watermark,
                low: self.low_watermark,
            },
        })
    }
}

/// What an engine keeps; each call waits for the plan that is running.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct EngineMemory(pub(crate) Arc<Mutex<Engine>>);

#[pymethods]
impl EngineMemory {
    fn prefix_stats(&self, py: Python<'_>) -> PyResult<PrefixStats> {
        run(py, || Ok(lock(&self.0)?.prefix_stats().into()))
    }

    fn pool_stats(&self, py: Python<'_>) -> PyResult<PoolStats> {
        run(py, || Ok(PoolStats::of(&*lock(&self.0)?)))
    }

    fn set_quota(&self, py: Python<'_>, tenant: &str, bytes: Option<usize>) -> PyResult<()> {
        run(py, || {
            let engine = lock(&self.0)?;
            engine.kv().pages().tenants().set_quota(tenant, bytes)
        })
    }

    /// Forgets prefixes for others of the budget.
    fn make_room(&self, py: Python<'_>, bytes: usize) -> PyResult<()> {
        run(py, || lock(&self.0).map(|mut one| one.make_room(bytes)))
    }

    fn clear_prefixes(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || lock(&self.0).map(|mut one| one.clear_prefixes()))
    }

    fn snapshot_prefixes(&self, py: Python<'_>, model: &str) -> PyResult<PrefixSnapshot> {
        let snapshot = run(py, || Ok(lock(&self.0)?.snapshot_prefixes(model)))?;
        Ok(PrefixSnapshot {
            engine: Arc::clone(&self.0),
            snapshot: Mutex::new(snapshot),
        })
    }

    fn load_prefixes(
        &self,
        py: Python<'_>,
        file: Py<PyAny>,
        model: &str,
    ) -> PyResult<(usize, usize, usize)> {
        run(py, || {
            let mut file = BufReader::with_capacity(READ_BYTES, PythonFile(file));
            let loaded = lock(&self.0)?.load_prefixes(model, &mut file)?;
            Ok((loaded.nodes, loaded.loaded_nodes, loaded.loaded_tokens))
        })
    }

    fn check_invariants(&self, py: Python<'_>) -> PyResult<()> {
        run(py, || {
            lock(&self.0)?.check_invariants().map_err(Error::KvCache)
        })
    }
}
