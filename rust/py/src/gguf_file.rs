//! `GgufFile`: what a GGUF file says, and its tensors' bytes, for what is no model; and a model's in fewer bits.

use std::collections::HashMap;
use std::path::PathBuf;

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::model;
use ruvllm_core::quantize::{self, Mix, Wanted};
use ruvllm_formats::{FileKind, ModelFiles, Value};
use ruvllm_kernels::{ThreadPool, thread_choice};

use crate::arrays::flat;
use crate::prefix_file::PythonFile;
use crate::run::{run, run_with_progress};

/// An opened file; every description in it is checked.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct GgufFile(ModelFiles);

#[pymethods]
impl GgufFile {
    /// `None` for a file of another kind.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Option<Self>> {
        run(py, || {
            let files = model::open(&path)?;
            Ok((files.kind() == FileKind::Gguf).then_some(Self(files)))
        })
    }

    /// All keys, sorted.
    fn keys(&self) -> Vec<&str> {
        let metadata = self.0.metadata();
        metadata.map_or_else(Vec::new, |metadata| metadata.keys().collect())
    }

    /// The value of a key that is a text or a number.
    fn value<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match self.0.metadata().and_then(|found| found.get(key)) {
            Some(Value::String(text)) => Some(text.into_pyobject(py)?.into_any()),
            Some(Value::Float(number)) => Some(number.into_pyobject(py)?.into_any()),
            Some(Value::Unsigned(number)) => Some(number.into_pyobject(py)?.into_any()),
            Some(Value::Signed(number)) => Some(number.into_pyobject(py)?.into_any()),
            _ => None,
        })
    }

    /// Name, type and shape of each tensor, outermost dimension first, sorted by name.
    fn tensors(&self) -> Vec<(&str, &'static str, Vec<usize>)> {
        let tensors = self.0.tensors();
        tensors
            .map(|info| (&*info.name, info.tensor_type.name(), info.shape.clone()))
            .collect()
    }

    /// A tensor's bytes.
    fn data<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyArray1<u8>>>> {
        let bytes = run(py, || {
            Ok(self.0.tensor(name).map(|(_, bytes)| bytes.to_vec()))
        })?;
        Ok(bytes.map(|bytes| flat(py, bytes)))
    }
}

/// Name, types and bytes of a tensor, both before and after.
type Requantized = (String, [&'static str; 2], [u64; 2]);

/// How a model is written anew; any object with these attributes.
#[derive(FromPyObject)]
pub(crate) struct QuantizeSettings {
    mix: String,
    threads: Option<usize>,
    entries: Vec<(String, Vec<u8>)>,
    importance: HashMap<String, Vec<f32>>,
}

/// Writes a model of that mix into a file; what became of each tensor.
#[pyfunction]
pub(crate) fn quantize_model(
    py: Python<'_>,
    path: PathBuf,
    target: Py<PyAny>,
    settings: QuantizeSettings,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<Requantized>> {
    run_with_progress(py, progress, |progress| {
        let wanted = Wanted {
            mix: Mix::named(&settings.mix)?,
            entries: settings.entries,
            importance: settings.importance,
        };
        let files = model::open(&path)?;
        let pool = ThreadPool::new(thread_choice(settings.threads).threads);
        let target = &mut PythonFile(target);
        let made = quantize::quantize(&files, &wanted, &pool, target, progress)?.into_iter();
        Ok(made.map(|one| (one.name, one.types, one.bytes)).collect())
    })
}
