//! The forward pass: embed, layers, norm. Families differ only in what the spec says.

use ruvllm_kernels::{Epilogue, Kernels};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kv::KvPool;
use crate::profile::{Operation, Profile};

use super::Model;
use super::compute::{Compute, ROWS_PER_TASK};
use super::layer::{LayerBuffers, LayerCall, RotaryTables};
use super::linear::{InputBuffers, Source};
use super::norm::Norm;

/// Buffers of a forward pass, kept between steps.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The residual stream `[tokens, hidden]`.
    pub(crate) residual: Vec<f32>,
    /// After the last norm `[tokens, hidden]`.
    hidden: Vec<f32>,
    layer: LayerBuffers,
    rotary: Vec<RotaryTables>,
}

impl Workspace {
    /// The last hidden states of the batch, `[tokens, hidden]`, after the final norm.
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }
}

type Half = for<'a> fn(&LayerCall<'a>, &mut KvPool, &mut [f32], &mut LayerBuffers);

/// What a layer does, in order. Between two of these a batch may lose rows.
const HALVES: [Half; 2] = [
    |call, kv, residual, buffers| call.attention_half(kv, residual, buffers),
    |call, _, residual, buffers| call.feed_forward_half(residual, buffers),
];

/// How a forward pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// The rows that are left in the batch are computed and in the cache.
    Whole,
    /// Nobody is left who wants any of them.
    Abandoned,
}

impl Model {
    /// Runs a batch through the model; the keys and values go to `kv`, the result to
    /// [`Workspace::hidden`]. Whoever cancels meanwhile is taken out of the batch, and nobody else loses
    /// anything by it.
    pub fn forward(
        &self,
        kv: &mut KvPool,
        batch: &mut Batch,
        work: &mut Workspace,
        profile: Option<&Profile>,
    ) -> Result<Forwarded> {
        self.check_batch(batch)?;
        let for_step = self.kernels.for_step();
        let kernels = for_step.as_deref().unwrap_or(&*self.kernels);
        let compute = self.compute(kernels, profile);
        compute.timed(Operation::Embed, || {
            self.embed(compute, batch, &mut work.residual);
        });
        work.rotary.clear();
        compute.timed(Operation::Rope, || {
            let ropes = self.spec.ropes.iter();
            work.rotary
                .extend(ropes.map(|rope| RotaryTables::new(rope, batch)));
        });
        for (index, weights) in self.weights.layers.iter().enumerate() {
            let layer_spec = self.spec.layers[index];
            for half in HALVES {
                self.drop_cancelled(batch, work);
                if batch.is_empty() {
                    return Ok(Forwarded::Abandoned);
                }
                let call = LayerCall {
                    compute,
                    spec: &self.spec,
                    layer: index,
                    window: layer_spec.window,
                    weights,
                    rotary: &work.rotary[layer_spec.rope],
                    batch,
                };
                half(&call, kv, &mut work.residual, &mut work.layer);
            }
        }
        let norm = Norm {
            weight: &self.weights.output_norm,
            epsilon: self.spec.norm_epsilon,
        };
        norm.apply(compute, &work.residual, &mut work.hidden);
        Ok(Forwarded::Whole)
    }

    /// Takes the rows out that nobody wants any more, between two halves of a layer.
    fn drop_cancelled(&self, batch: &mut Batch, work: &mut Workspace) {
        if let Some(kept) = batch.drop_cancelled() {
            kept.apply(&mut work.residual, self.spec.hidden_size);
            for tables in &mut work.rotary {
                tables.keep(&kept);
            }
        }
    }

    /// Output logits of some rows of hidden states, `[rows, vocab]`.
    pub fn logits(
        &self,
        hidden: &[f32],
        buffers: &mut LogitsBuffers,
        logits: &mut Vec<f32>,
        profile: Option<&Profile>,
    ) {
        let compute = self.compute(&*self.kernels, profile);
        let head = self.weights.head();
        let rows = hidden.len() / self.spec.hidden_size;
        logits.resize(rows * head.width(), 0.0);
        compute.timed(Operation::Head, || {
            head.apply(
                compute,
                Source::Rows(hidden),
                &mut buffers.0,
                Epilogue::Replace,
                logits,
            );
        });
        if let Some(cap) = self.spec.final_soft_cap {
            let rows = logits.chunks_mut(self.spec.vocab_size).collect();
            compute.timed(Operation::Sampling, || {
                compute.pool.for_each(rows, 1, |row: &mut [f32]| {
                    compute.kernels.soft_cap(row, cap);
                });
            });
        }
    }

    fn compute<'a>(
        &'a self,
        kernels: &'a dyn Kernels,
        profile: Option<&'a Profile>,
    ) -> Compute<'a> {
        Compute {
            kernels,
            pool: &self.pool,
            profile,
        }
    }

    fn check_batch(&self, batch: &Batch) -> Result<()> {
        match batch
            .tokens
            .iter()
            .find(|token| **token as usize >= self.spec.vocab_size)
        {
            Some(token) => Err(Error::Tokenization(format!(
                "token {token} is outside the model's vocabulary of {} tokens",
                self.spec.vocab_size
            ))),
            None => Ok(()),
        }
    }

    fn embed(&self, compute: Compute<'_>, batch: &Batch, residual: &mut Vec<f32>) {
        let width = self.spec.hidden_size;
        residual.resize(batch.tokens.len() * width, 0.0);
        let table = self.weights.embedding();
        let scale = self.spec.embedding_scale;
        let rows = batch
            .tokens
            .iter()
            .zip(residual.chunks_exact_mut(width))
            .collect();
        compute
            .pool
            .for_each(rows, ROWS_PER_TASK, |(token, row): (&u32, &mut [f32])| {
                table.decode_row(*token as usize, row);
                if scale != 1.0 {
                    for value in row {
                        *value *= scale;
                    }
                }
            });
    }
}

/// Buffers of [`Model::logits`].
#[derive(Debug, Default)]
pub struct LogitsBuffers(InputBuffers);
