//! `RadixTree`: the engine's tree of token prefixes, over any Python object.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use ruvllm_core::Error;
use ruvllm_core::ids::TokenId;
use ruvllm_core::prefix::radix_tree::{self, EdgeValue, NodeId};

use crate::convert::Tokens;
use crate::errors::exception;

/// An object that was inserted with some tokens, and which of their positions an edge has of it.
struct Payload {
    object: Arc<Py<PyAny>>,
    start: usize,
    stop: usize,
}

impl EdgeValue for Payload {
    fn split_off(&mut self, at: usize) -> Self {
        let border = self.start + at;
        let rest = Self {
            object: Arc::clone(&self.object),
            start: border,
            stop: self.stop,
        };
        self.stop = border;
        rest
    }
}

type Inner = (radix_tree::RadixTree<Payload>, NodeId);

/// Tokens to objects, by longest beginning; safe to use from any thread.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct RadixTree {
    inner: Arc<Mutex<Inner>>,
}

/// A beginning that the tree knows; pinned until it is released.
#[pyclass(frozen, module = "ruvllm._native")]
pub(crate) struct RadixMatch {
    inner: Arc<Mutex<Inner>>,
    pin: Mutex<Option<NodeId>>,
    #[pyo3(get)]
    length: usize,
    segments: Vec<Payload>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // The tree's operations panic on nothing that comes from outside.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on some tokens, without a copy where they are an array of uint32.
fn with_tokens<T>(
    tokens: &Bound<'_, PyAny>,
    work: impl FnOnce(&[TokenId]) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(array) = tokens.extract::<PyReadonlyArray1<'_, TokenId>>()
        && array.is_c_contiguous()
    {
        return work(array.as_slice()?);
    }
    let Tokens(owned) = tokens.extract()?;
    work(&owned)
}

#[pymethods]
impl RadixTree {
    #[new]
    fn new() -> Self {
        let mut tree = radix_tree::RadixTree::default();
        let root = tree.add_root();
        Self {
            inner: Arc::new(Mutex::new((tree, root))),
        }
    }

    /// Makes tokens known; how many were known before. `payload` is kept for the others.
    fn insert(&self, tokens: &Bound<'_, PyAny>, payload: Py<PyAny>) -> PyResult<usize> {
        with_tokens(tokens, |tokens| {
            let (tree, root) = &mut *lock(&self.inner);
            let inserted = tree.insert(*root, tokens, |start| Payload {
                object: Arc::new(payload),
                start,
                stop: tokens.len(),
            });
            Ok(inserted.existing)
        })
    }

    /// The longest known beginning, pinned; every node on the way counts a hit.
    fn find(&self, tokens: &Bound<'_, PyAny>) -> PyResult<RadixMatch> {
        with_tokens(tokens, |tokens| {
            let (tree, root) = &mut *lock(&self.inner);
            let found = tree.find(*root, tokens);
            let pin = found.path.last().copied();
            pin.inspect(|node| tree.pin(*node));
            let values = found.path.iter().filter_map(|node| tree.value(*node));
            let segments = values.map(|value| Payload {
                object: Arc::clone(&value.object),
                start: value.start,
                stop: value.stop.min(found.length),
            });
            Ok(RadixMatch {
                inner: Arc::clone(&self.inner),
                pin: Mutex::new(pin),
                length: found.length,
                segments: segments.collect(),
            })
        })
    }

    /// How many of the tokens are known; leaves no trace.
    fn peek(&self, tokens: &Bound<'_, PyAny>) -> PyResult<usize> {
        with_tokens(tokens, |tokens| {
            let (tree, root) = &*lock(&self.inner);
            Ok(tree.peek(*root, tokens).length)
        })
    }

    /// Takes the least valuable leaf out: its tokens, and its payload where no other edge has a part of
    /// it. `None` where every leaf is pinned.
    fn evict(&self) -> Option<(usize, Option<Py<PyAny>>)> {
        let (length, value) = {
            let (tree, _) = &mut *lock(&self.inner);
            let leaf = tree.least_valuable()?;
            (tree.edge(leaf).len(), tree.remove_leaf(leaf)?)
        };
        Some((length, Arc::into_inner(value.object)))
    }

    /// Nodes, without the root.
    #[getter]
    fn num_nodes(&self) -> usize {
        lock(&self.inner).0.num_nodes() - 1
    }

    /// Tokens on all edges.
    #[getter]
    fn num_tokens(&self) -> usize {
        lock(&self.inner).0.num_tokens()
    }

    /// Matches that were not released.
    #[getter]
    fn num_pins(&self) -> usize {
        lock(&self.inner).0.num_pins()
    }

    /// Bytes of nodes and tokens, without the payloads.
    #[getter]
    fn memory_bytes(&self) -> usize {
        lock(&self.inner).0.memory_bytes()
    }

    /// The most nodes under one another.
    #[getter]
    fn max_depth(&self) -> usize {
        let (tree, root) = &*lock(&self.inner);
        tree.depth(*root)
    }

    /// The tokens of all edges with their hits, parents first: `(depth, tokens, hits)`.
    fn edges(&self) -> Vec<(usize, Vec<TokenId>, u64)> {
        let (tree, root) = &*lock(&self.inner);
        let mut open: Vec<_> = tree.children(*root).map(|child| (child, 1)).collect();
        let mut edges = Vec::new();
        while let Some((node, depth)) = open.pop() {
            edges.push((depth, tree.edge(node).to_vec(), tree.hits(node)));
            open.extend(tree.children(node).map(|child| (child, depth + 1)));
        }
        edges
    }

    /// Raises what does not hold and always must.
    fn check_invariants(&self) -> PyResult<()> {
        let checked = lock(&self.inner).0.check_invariants();
        checked.map_err(|problem| exception(&Error::KvCache(problem)))
    }
}

#[pymethods]
impl RadixMatch {
    /// The payloads on the way, each with the positions that it is for: `(payload, start, stop)`.
    #[getter]
    fn segments(&self, py: Python<'_>) -> Vec<(Py<PyAny>, usize, usize)> {
        let segments = self.segments.iter();
        segments
            .map(|part| (part.object.clone_ref(py), part.start, part.stop))
            .collect()
    }

    /// Lets it be evicted again; twice is the same as once.
    fn release(&self) {
        let pin = self
            .pin
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(pin) = pin {
            lock(&self.inner).0.unpin(pin);
        }
    }
}

impl Drop for RadixMatch {
    fn drop(&mut self) {
        self.release();
    }
}
