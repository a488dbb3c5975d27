//! A prefix cache and its file: written by Python from pieces, read from a file that Python opened.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use ruvllm_core::engine::Engine;
use ruvllm_core::prefix::file::Snapshot;

use crate::run::{lock, run};

/// The cache at one moment, to be written while the engine goes on.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct PrefixSnapshot {
    pub(crate) engine: Arc<Mutex<Engine>>,
    pub(crate) snapshot: Mutex<Snapshot>,
}

#[pymethods]
impl PrefixSnapshot {
    fn next_piece<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let piece = run(py, || {
            Ok(lock(&self.engine)?.next_piece(&mut *lock(&self.snapshot)?, limit))
        })?;
        Ok(PyArray1::from_vec(py, piece))
    }

    #[getter]
    fn written_nodes(&self, py: Python<'_>) -> PyResult<usize> {
        run(py, || Ok(lock(&self.snapshot)?.written_nodes()))
    }
}

/// A binary file object of Python's. Each call takes the interpreter: read through a large buffer.
pub(crate) struct PythonFile(pub(crate) Py<PyAny>);

impl Read for PythonFile {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let read = self.0.bind(py).call_method1("read", (room.len(),))?;
            let bytes = read.cast::<PyBytes>().map_err(PyErr::from)?.as_bytes();
            let into = room.get_mut(..bytes.len());
            into.ok_or(io::ErrorKind::InvalidData)?
                .copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }
}

/// What its maker flushes.
impl Write for PythonFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Python::attach(|py| Ok(self.0.call_method1(py, "write", (bytes,))?.extract(py)?))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for PythonFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (i64::try_from(offset).map_err(io::Error::other)?, 0),
            SeekFrom::Current(offset) => (offset, 1),
            SeekFrom::End(offset) => (offset, 2),
        };
        Python::attach(|py| {
            let place = self.0.bind(py).call_method1("seek", (offset, whence))?;
            Ok(place.extract()?)
        })
    }
}
