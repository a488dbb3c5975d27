//! `Model`: files to packed weights and a tokenizer, and what there is to say about them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use numpy::PyArray1;
use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::model::{self, Images, LoadOptions, Module};
use ruvllm_core::{Result, text};
use ruvllm_kernels::{ThreadPool, thread_choice};

use crate::arrays::flat;
use crate::convert::{Tokens, choice};
use crate::errors::exception;
use crate::model_header::{ModelHeader, precision};
use crate::packs::KernelPacks;
use crate::run::{run, run_with_progress};
use crate::system::choose_kernels;
use crate::tokenizer::{Tokenizer, Vocabulary};

/// Weights, packed for this machine.
#[pyclass(frozen, extends = ModelHeader, module = "ruvllm._native")]
pub(crate) struct Model {
    pub(crate) model: Arc<model::Model>,
    /// `None` for a folder; an error where the file's is of a kind that is not known.
    tokenizer: Option<Result<Arc<text::Tokenizer>>>,
}

impl Model {
    /// Opens, packs, and closes the files again; the tokenizer is built meanwhile.
    fn read(
        path: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<Self> {
        let files = model::open(path)?;
        std::thread::scope(|scope| {
            let tokenizer = files
                .metadata()
                .filter(|metadata| metadata.get("tokenizer.ggml.model").is_some())
                .map(|metadata| scope.spawn(|| text::Tokenizer::from_metadata(metadata)));
            let model = Arc::new(model::load(&files, options, progress)?);
            progress(files.total_bytes(), files.total_bytes())?;
            let tokenizer = tokenizer.map(|thread| match thread.join() {
                Ok(built) => built.map(Arc::new),
                Err(panic) => std::panic::resume_unwind(panic),
            });
            Ok(Self { model, tokenizer })
        })
    }

    fn usable_tokenizer(&self) -> Option<&text::Tokenizer> {
        self.tokenizer.as_ref()?.as_deref().ok()
    }
}

#[pymethods]
impl Model {
    #[staticmethod]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the face in Python"
    )]
    #[pyo3(signature = (path, *, threads=None, isa=None, activations="auto", progress=None, packs=None, images=None, keep_image=false, beside=None))]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        threads: Option<usize>,
        isa: Option<&str>,
        activations: &str,
        progress: Option<Py<PyAny>>,
        packs: Option<&KernelPacks>,
        images: Option<PathBuf>,
        keep_image: bool,
        beside: Option<&Bound<'_, Self>>,
    ) -> PyResult<Py<Self>> {
        let shared = beside.map(|other| Arc::clone(other.get().model.pool()));
        let packs = packs.map(|packs| packs.0.kernels());
        let precision = precision(activations).map_err(|error| exception(&error))?;
        let read = run_with_progress(py, progress, |progress| {
            let options = LoadOptions {
                kernels: packs.map_or_else(|| choose_kernels(isa), Ok)?,
                pool: shared
                    .unwrap_or_else(|| Arc::new(ThreadPool::new(thread_choice(threads).threads))),
                precision,
                images: images.map(|folder| Images::new(folder, keep_image)),
            };
            Self::read(&path, &options, progress)
        })?;
        let header = Arc::clone(read.model.header());
        let base = PyClassInitializer::from(ModelHeader { header, precision });
        Py::new(py, base.add_subclass(read))
    }

    /// The same as GGUF files have it.
    #[getter]
    fn gguf_architecture(&self) -> &str {
        self.model.gguf_architecture()
    }

    /// Bytes of the packed weights, and how many of these are mapped from a file.
    #[getter]
    fn weight_bytes(&self) -> (u64, u64) {
        let about = self.model.description();
        (about.weight_bytes, about.image.mapped_bytes)
    }

    /// The image of the packed weights, and why there is none or it was not used.
    #[getter]
    fn image(&self) -> (Option<&Path>, Option<&str>) {
        let image = &self.model.description().image;
        (image.path.as_deref(), image.problem.as_deref())
    }

    /// Inputs and outputs of a linear map.
    fn map_shape(&self, py: Python<'_>, module: &str) -> PyResult<(usize, usize)> {
        run(py, || {
            let module = choice("the module", module, &Module::NAMES)?;
            self.model.map_shape(module)
        })
    }

    #[getter]
    fn threads(&self) -> usize {
        self.model.threads()
    }

    #[getter]
    fn isa(&self) -> &str {
        self.model.kernels().name()
    }

    #[getter]
    fn chat_template(&self) -> Option<&str> {
        self.model.description().chat_template.as_deref()
    }

    #[getter]
    fn bos_token(&self) -> Option<TokenId> {
        match self.usable_tokenizer() {
            Some(tokenizer) => tokenizer.bos(),
            None => self.model.spec().special_tokens.begin,
        }
    }

    #[getter]
    fn end_tokens(&self) -> Vec<TokenId> {
        match self.usable_tokenizer() {
            Some(tokenizer) => tokenizer.end_of_generation().to_vec(),
            None => self.model.spec().special_tokens.end.clone(),
        }
    }

    fn tokenizer(&self) -> PyResult<Option<Tokenizer>> {
        let built = self.tokenizer.clone().transpose();
        built
            .map(|tokenizer| tokenizer.map(Tokenizer))
            .map_err(|error| exception(&error))
    }

    /// Sums of squares of what goes into each matrix, by its name in GGUF files, over chunks of tokens.
    fn importance<'py>(
        &self,
        py: Python<'py>,
        tokens: Tokens,
        chunk: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(String, Bound<'py, PyArray1<f32>>)>> {
        let sums = run_with_progress(py, progress, |progress| {
            model::importance(&self.model, &tokens.0, chunk, progress)
        })?;
        let named = sums.into_iter().map(|(name, sums)| (name, flat(py, sums)));
        Ok(named.collect())
    }
}

/// What tokens say, and those that end an answer.
pub(crate) type Words = (Option<Py<Vocabulary>>, Tokens);

pub(crate) fn words_of(
    (vocabulary, Tokens(ends)): Words,
) -> (Option<Arc<text::Vocabulary>>, Vec<TokenId>) {
    let vocabulary = vocabulary.map(|words| Arc::clone(&words.get().0));
    (vocabulary, ends)
}
