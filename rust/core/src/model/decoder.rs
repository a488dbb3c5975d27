//! The forward pass: embed, layers. Families differ only in what the spec says.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kv::HostBlocks;
use crate::profile::Operation;

use super::common_key::{BlockTurns, CommonKeys};
use super::compute::Compute;
use super::input_squares::InputSquares;
use super::layer::{LayerBuffers, LayerCall, RotaryTables};
use super::spec::ModelSpec;
use super::weights::Weights;

/// Buffers of a forward pass, kept between steps.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// The residual stream `[tokens, hidden]`.
    pub(super) residual: Vec<f32>,
    layer: LayerBuffers,
    rotary: Vec<RotaryTables>,
    /// By rotary embedding.
    block_turns: Vec<BlockTurns>,
}

/// What a pass reads, and what it computes with.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    pub(super) spec: &'a ModelSpec,
    pub(super) weights: &'a Weights,
    pub(super) compute: Compute<'a>,
    /// Who watches what goes into the layers' maps.
    pub(super) squares: Option<&'a InputSquares>,
}

type Half = for<'a> fn(&LayerCall<'a>, &mut HostBlocks, &mut [f32], &mut LayerBuffers);

/// What a layer does, in order. Between two of these a batch may lose rows.
const HALVES: [Half; 2] = [
    |call, kv, residual, buffers| call.attention_half(kv, residual, buffers),
    |call, _, residual, buffers| call.feed_forward_half(residual, buffers),
];

impl Decoder<'_> {
    /// Runs a batch through the layers; the keys and values go to `kv`, the result to
    /// [`Workspace::residual`]. Whoever cancels meanwhile is taken out of the batch, and nobody else loses
    /// anything by it; where nobody is left, it ends early.
    pub(super) fn forward(
        self,
        kv: &mut HostBlocks,
        batch: &mut Batch,
        work: &mut Workspace,
    ) -> Result<()> {
        self.check_batch(batch)?;
        self.compute.timed(Operation::Embed, || {
            let tokens = &batch.tokens;
            self.weights
                .embed(self.compute, self.spec, tokens, &mut work.residual);
        });
        work.rotary.clear();
        self.compute.timed(Operation::Rope, || {
            let ropes = self.spec.ropes.iter();
            work.rotary
                .extend(ropes.map(|rope| RotaryTables::new(rope, batch)));
        });
        let is_parted = kv.groups().lack_key_bias();
        if is_parted {
            self.turn_blocks(batch, work);
        }
        let layers = &self.weights.layers;
        for (index, weights) in layers.iter().enumerate() {
            let layer_spec = self.spec.layers[index];
            let following = layers.get(index + 1);
            for half in HALVES {
                self.drop_cancelled(batch, work);
                if batch.is_empty() {
                    return Ok(());
                }
                let parted = weights.common_key.as_ref().filter(|_| is_parted);
                let call = LayerCall {
                    compute: self.compute,
                    squares: self.squares,
                    spec: self.spec,
                    layer: index,
                    window: layer_spec.window,
                    weights,
                    next: following
                        .map_or_else(|| self.weights.head(), |next| &next.attention_input),
                    rotary: &work.rotary[layer_spec.rope],
                    common_keys: parted.map(|key| CommonKeys {
                        key,
                        turns: &work.block_turns[layer_spec.rope],
                    }),
                    batch,
                };
                half(&call, kv, &mut work.residual, &mut work.layer);
            }
        }
        Ok(())
    }

    /// Knows how every block of the batch's sequences is turned.
    fn turn_blocks(self, batch: &Batch, work: &mut Workspace) {
        let ends = batch.sequences.iter();
        let longest = ends
            .map(|sequence| sequence.first_position + sequence.rows)
            .max();
        let ropes = &self.spec.ropes;
        work.block_turns
            .resize_with(ropes.len(), BlockTurns::default);
        for (rope, turns) in ropes.iter().zip(&mut work.block_turns) {
            turns.cover(rope, self.spec.head_dim, longest.unwrap_or(0));
        }
    }

    /// Takes the rows out that nobody wants any more, between two halves of a layer.
    fn drop_cancelled(self, batch: &mut Batch, work: &mut Workspace) {
        if let Some(kept) = batch.drop_cancelled() {
            kept.apply(&mut work.residual, self.spec.hidden_size);
            for tables in &mut work.rotary {
                tables.keep(&kept);
            }
        }
    }

    fn check_batch(self, batch: &Batch) -> Result<()> {
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
}
