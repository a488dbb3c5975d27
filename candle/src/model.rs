//! `Opened` and `Model`: files that are known and can be loaded, and what is loaded of them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Device, Tensor};
use pyo3::prelude::*;
use ruvllm_core::ids::TokenId;
use ruvllm_core::model::ModelHeader;
use ruvllm_core::text;
use ruvllm_core::{Error, Result};
use ruvllm_formats::ModelFiles;

use crate::convert::Tokens;
use crate::device::opened;
use crate::failure;
use crate::families::{self, Fit};
use crate::network::Network;
use crate::run::run;
use crate::tokenizer::Tokenizer;

/// A model's files, read as far as it takes to know that candle computes what they say.
#[pyclass(frozen, module = "ruvllm_candle._candle")]
pub(crate) struct Opened {
    files: ModelFiles,
    header: ModelHeader,
    fit: Fit,
}

#[pymethods]
impl Opened {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        run(py, || {
            let files = ModelFiles::open(&path)?;
            let header = ModelHeader::of(&files)?;
            let fit = families::fit(&files, &header.spec)?;
            Ok(Self { files, header, fit })
        })
    }

    /// The most tokens of a prompt and its answer, and why there are no more where the model was made for more.
    #[getter]
    fn context(&self) -> (usize, Option<&str>) {
        let made_for = self.header.spec.max_context;
        match &self.fit.limit {
            Some((tokens, why)) if *tokens < made_for => (*tokens, Some(why.as_str())),
            _ => (made_for, None),
        }
    }

    /// The tokenizer of a GGUF file, for grammars.
    fn tokenizer(&self, py: Python<'_>) -> PyResult<Option<Tokenizer>> {
        run(py, || {
            let metadata = self.files.metadata();
            let metadata = metadata.filter(|one| one.get("tokenizer.ggml.model").is_some());
            metadata.map(text::Tokenizer::from_metadata).transpose()
        })
        .map(|tokenizer| tokenizer.map(|one| Tokenizer(Arc::new(one))))
    }

    /// Takes the weights in.
    fn load(&self, py: Python<'_>, device: &str, max_context: usize) -> PyResult<Model> {
        run(py, || {
            let device = opened(device)?;
            let spec = &self.header.spec;
            let (network, weight_bytes) = families::load(&self.files, spec, max_context, &device)?;
            Ok(Model {
                weight_bytes,
                loaded: Arc::new(Mutex::new(Loaded {
                    network,
                    device,
                    vocab_size: spec.vocab_size,
                    max_context,
                    owner: 0,
                })),
            })
        })
    }
}

/// Weights on a device, and the one cache beside them.
#[pyclass(frozen, module = "ruvllm_candle._candle")]
pub(crate) struct Model {
    pub(crate) loaded: Arc<Mutex<Loaded>>,
    weight_bytes: u64,
}

#[pymethods]
impl Model {
    /// Bytes of the weights in memory; 0 where candle keeps them in a form that nobody counts.
    #[getter]
    fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The logits behind the last token.
    fn logits(&self, py: Python<'_>, token_ids: Tokens) -> PyResult<Vec<f32>> {
        run(py, || {
            let mut loaded = lock(&self.loaded)?;
            let owner = loaded.begin();
            loaded.prompt(owner, &token_ids.0)
        })
    }
}

/// What answers take in turns.
pub(crate) struct Loaded {
    network: Box<dyn Network>,
    device: Device,
    vocab_size: usize,
    max_context: usize,
    /// Whose tokens the cache has: a number for each text that was begun.
    owner: u64,
}

/// The model, for as long as it computes.
pub(crate) fn lock(loaded: &Mutex<Loaded>) -> Result<MutexGuard<'_, Loaded>> {
    loaded.lock().map_err(|_| {
        Error::Backend("candle had a fault before and cannot go on; load the model anew".to_owned())
    })
}

impl Loaded {
    /// Forgets what was computed, and gives the number of what comes now.
    pub(crate) fn begin(&mut self) -> u64 {
        self.network.clear();
        self.owner += 1;
        self.owner
    }

    /// Forgets what is no longer needed, unless it is somebody else's.
    pub(crate) fn end(&mut self, owner: u64) {
        if self.owner == owner {
            self.network.clear();
        }
    }

    /// Computes a prompt from its beginning; gives the logits behind its last token.
    pub(crate) fn prompt(&mut self, owner: u64, tokens: &[TokenId]) -> Result<Vec<f32>> {
        let mut done = 0;
        let mut logits = Vec::new();
        while done < tokens.len() {
            let count = self.network.part(tokens.len() - done);
            logits = self.compute(owner, &tokens[done..done + count], done)?;
            done += count;
        }
        Ok(logits)
    }

    /// Computes tokens behind so many others; gives the logits behind the last one.
    pub(crate) fn compute(
        &mut self,
        owner: u64,
        tokens: &[TokenId],
        position: usize,
    ) -> Result<Vec<f32>> {
        if self.owner != owner {
            return Err(Error::InvalidOperation(
                "another answer has begun on this model, which has one cache".to_owned(),
            ));
        }
        if position + tokens.len() > self.max_context {
            return Err(Error::Generation(format!(
                "{} tokens; the context has {}",
                position + tokens.len(),
                self.max_context
            )));
        }
        if let Some(token) = tokens.iter().find(|one| **one as usize >= self.vocab_size) {
            return Err(Error::Tokenization(format!(
                "token {token} is none of the model, which has {}",
                self.vocab_size
            )));
        }
        failure::caught(|| self.row(tokens, position)).map_err(|error| failure::computing(&error))
    }

    fn row(&mut self, tokens: &[TokenId], position: usize) -> candle_core::Result<Vec<f32>> {
        let tokens = Tensor::new(tokens, &self.device)?.unsqueeze(0)?;
        let logits = self.network.forward(&tokens, position)?;
        logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()
    }
}
