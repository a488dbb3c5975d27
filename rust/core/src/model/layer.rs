//! One layer: its attention half and its feed-forward half.

use std::sync::Arc;

use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, Epilogue, KvRows,
    QueryRows, attend_batch,
};

use crate::batch::{Batch, KeptRows};
use crate::kv::{HostBlocks, LayerTier};
use crate::lora::Site;
use crate::profile::Operation;

use super::adapted::Adapted;
use super::common_key::CommonKeys;
use super::compute::{Compute, ROWS_PER_TASK};
use super::input_squares::InputSquares;
use super::layer_rows::TierRows;
use super::linear::{Input, InputBuffers, Linear, Source, Turn};
use super::norm::Norm;
use super::spec::{ModelSpec, RopeSpec};
use super::weights::LayerWeights;

/// Cosines and sines of every row of a batch, `[tokens, half]`, for one rotary embedding.
#[derive(Debug)]
pub(crate) struct RotaryTables {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl RotaryTables {
    pub(crate) fn new(rope: &RopeSpec, batch: &Batch) -> Self {
        let half = rope.dimensions / 2;
        let mut tables = Self {
            half,
            cosines: vec![0.0; batch.tokens.len() * half],
            sines: vec![0.0; batch.tokens.len() * half],
        };
        for sequence in &batch.sequences {
            let frequencies = rope.frequencies(sequence.rope_length);
            for row in 0..sequence.rows {
                let range = tables.range(sequence.first_row + row);
                let (cosines, sines) =
                    (&mut tables.cosines[range.clone()], &mut tables.sines[range]);
                frequencies.fill(sequence.first_position + row, cosines, sines);
            }
        }
        tables
    }

    /// Follows a batch that has lost rows.
    pub(crate) fn keep(&mut self, kept: &KeptRows) {
        kept.apply(&mut self.cosines, self.half);
        kept.apply(&mut self.sines, self.half);
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        row * self.half..(row + 1) * self.half
    }
}

/// Buffers of a layer, kept between layers and steps.
#[derive(Debug, Default)]
pub(crate) struct LayerBuffers {
    input: InputBuffers,
    /// `[tokens, (heads + 2 * kv_heads) * head_dim]`
    projected: Vec<f32>,
    /// What of the queries meets the common keys, `[tokens, heads * head_dim]`.
    second_queries: Vec<f32>,
    attention: AttentionBuffers,
    /// `[tokens, heads * head_dim]`
    attended: Vec<f32>,
    /// `[tokens, hidden]`
    output: Vec<f32>,
    /// `[tokens, feed_forward]`
    activated: Vec<f32>,
}

/// A layer at work on a batch.
pub(crate) struct LayerCall<'a> {
    pub(crate) compute: Compute<'a>,
    /// Who watches what goes into the maps.
    pub(super) squares: Option<&'a InputSquares>,
    pub(crate) spec: &'a ModelSpec,
    pub(crate) layer: usize,
    pub(crate) window: Option<usize>,
    pub(crate) weights: &'a LayerWeights,
    /// What is read after the layer.
    pub(crate) next: &'a Linear,
    pub(crate) rotary: &'a RotaryTables,
    /// What keys are stored without.
    pub(super) common_keys: Option<CommonKeys<'a>>,
    pub(crate) batch: &'a Batch,
}

impl LayerCall<'_> {
    /// `residual += output(attention(norm(residual)))`
    pub(crate) fn attention_half(
        &self,
        kv: &mut HostBlocks,
        residual: &mut [f32],
        buffers: &mut LayerBuffers,
    ) {
        let weights = self.weights;
        let normed = Source::Normed(residual, self.norm(&weights.attention_norm));
        let input = self.input(normed, Site::AttentionInput);
        let tokens = self.batch.tokens.len();
        let width = weights.attention_input.width();
        buffers.projected.resize(tokens * width, 0.0);
        self.compute.timed(Operation::QueryKeyValue, || {
            let turn = weights.attention_input.before(&weights.attention_output);
            turn.apply(
                self.compute,
                input,
                &mut buffers.input,
                Epilogue::Replace,
                &mut buffers.projected,
            );
        });
        self.compute
            .timed(Operation::Rope, || self.rotate_rows(buffers));
        if let Some(common) = self.common_keys {
            let (projected, second) = (&mut buffers.projected, &mut buffers.second_queries);
            self.compute.timed(Operation::Rope, || {
                common.part(self.compute, self.batch, projected, second);
            });
        }
        let groups = Arc::clone(kv.groups());
        let tiers = groups.tiers(self.layer).iter();
        let tiers: Vec<_> = tiers.map(|tier| (*tier, self.rows(*tier))).collect();
        self.compute.timed(Operation::Store, || {
            self.store(&tiers, kv, &buffers.projected);
        });
        self.compute.timed(Operation::Attention, || {
            self.attend(&tiers, kv, buffers);
        });
        let attended = std::mem::take(&mut buffers.attended);
        let norm = weights.post_attention_norm.as_deref();
        self.compute.timed(Operation::AttentionOutput, || {
            let turn = weights.attention_output.before(&weights.feed_forward_input);
            let input = self.input(Source::Rows(&attended), Site::AttentionOutput);
            self.add_result((turn, norm), input, residual, buffers);
        });
        buffers.attended = attended;
    }

    /// `residual += down(activation(gate(x)) * up(x))` with `x = norm(residual)`
    pub(crate) fn feed_forward_half(&self, residual: &mut [f32], buffers: &mut LayerBuffers) {
        let weights = self.weights;
        let mut activated = std::mem::take(&mut buffers.activated);
        activated.resize(self.batch.tokens.len() * self.spec.feed_forward_size, 0.0);
        self.compute.timed(Operation::GateUp, || {
            let turn = weights
                .feed_forward_input
                .before(&weights.feed_forward_output);
            turn.apply(
                self.compute,
                self.input(
                    Source::Normed(residual, self.norm(&weights.feed_forward_norm)),
                    Site::FeedForwardInput,
                ),
                &mut buffers.input,
                Epilogue::Gate(self.spec.activation),
                &mut activated,
            );
        });
        let norm = weights.post_feed_forward_norm.as_deref();
        self.compute.timed(Operation::Down, || {
            let turn = weights.feed_forward_output.before(self.next);
            let input = self.input(Source::Rows(&activated), Site::FeedForwardOutput);
            self.add_result((turn, norm), input, residual, buffers);
        });
        buffers.activated = activated;
    }

    fn norm<'a>(&self, weight: &'a [f32]) -> Norm<'a> {
        Norm {
            weight,
            epsilon: self.spec.norm_epsilon,
        }
    }

    /// Rows, with what the batch's adapters add for them at a place of this layer.
    fn input<'a>(&'a self, source: Source<'a>, site: Site) -> Input<'a> {
        if let Some(squares) = self.squares {
            squares.add(self.compute, (self.layer, site), source);
        }
        let adapted = Adapted::new(self.batch, self.layer, site);
        Input { source, adapted }
    }

    /// `residual += linear(input)`, or the norm of that.
    fn add_result(
        &self,
        (turn, norm): (Turn<'_>, Option<&[f32]>),
        input: Input<'_>,
        residual: &mut [f32],
        buffers: &mut LayerBuffers,
    ) {
        let Some(weight) = norm else {
            let epilogue = Epilogue::Add;
            turn.apply(self.compute, input, &mut buffers.input, epilogue, residual);
            return;
        };
        let (compute, output) = (self.compute, &mut buffers.output);
        output.resize(residual.len(), 0.0);
        turn.apply(
            compute,
            input,
            &mut buffers.input,
            Epilogue::Replace,
            output,
        );
        self.norm(weight).add_to(compute, output, residual);
    }

    fn query_width(&self) -> usize {
        self.spec.num_heads * self.spec.head_dim
    }

    fn key_width(&self) -> usize {
        self.spec.num_kv_heads * self.spec.head_dim
    }

    /// Norms and rotates queries and keys in place.
    fn rotate_rows(&self, buffers: &mut LayerBuffers) {
        let (query_width, key_width, head_dim) =
            (self.query_width(), self.key_width(), self.spec.head_dim);
        let width = query_width + 2 * key_width;
        let rows = buffers.projected.chunks_exact_mut(width);
        let rows: Vec<_> = rows.enumerate().collect();
        self.compute
            .pool
            .for_each(rows, ROWS_PER_TASK, |(row, projected)| {
                let range = self.rotary.range(row);
                let (cosines, sines) = (
                    &self.rotary.cosines[range.clone()],
                    &self.rotary.sines[range],
                );
                let (query, rest) = projected.split_at_mut(query_width);
                self.norm_heads(self.weights.query_norm.as_deref(), query);
                self.norm_heads(self.weights.key_norm.as_deref(), &mut rest[..key_width]);
                self.compute.kernels.rotate(query, head_dim, cosines, sines);
                self.compute
                    .kernels
                    .rotate(&mut rest[..key_width], head_dim, cosines, sines);
            });
    }

    fn norm_heads(&self, weight: Option<&[f32]>, heads: &mut [f32]) {
        let Some(weight) = weight else { return };
        let input = heads.to_vec();
        self.compute
            .kernels
            .rms_norm(&input, weight, self.spec.norm_epsilon, heads);
    }

    /// The rows of the batch, where keys and values of a tier of this layer are.
    fn rows(&self, tier: LayerTier) -> TierRows<'_> {
        let sequences = self.batch.sequences.iter();
        TierRows {
            layer: tier.layer,
            sequences: sequences
                .map(|sequence| AttentionSequence {
                    first_row: sequence.first_row,
                    rows: sequence.rows,
                    first_position: sequence.first_position,
                    block_table: &sequence.block_tables[tier.group],
                })
                .collect(),
        }
    }

    /// Writes the keys and values of the batch to their blocks in all tiers.
    fn store(&self, tiers: &[(LayerTier, TierRows<'_>)], kv: &mut HostBlocks, projected: &[f32]) {
        let (query_width, key_width) = (self.query_width(), self.key_width());
        let projected = KvRows {
            keys: &projected[query_width..],
            values: &projected[query_width + key_width..],
            stride: query_width + 2 * key_width,
        };
        for (tier, rows) in tiers {
            rows.store(self.compute, kv.target(*tier), projected);
        }
    }

    /// The attention of every row, from the projection into `attended`.
    fn attend(
        &self,
        tiers: &[(LayerTier, TierRows<'_>)],
        kv: &HostBlocks,
        buffers: &mut LayerBuffers,
    ) {
        let query_width = self.query_width();
        let attended = &mut buffers.attended;
        attended.resize(self.batch.tokens.len() * query_width, 0.0);
        let tiers = tiers.iter().map(|(tier, rows)| {
            let shape = AttentionShape {
                num_heads: self.spec.num_heads,
                scale: self.spec.attention_scale,
                soft_cap: self.spec.attention_soft_cap,
                // As the layer says: a window over the longest context is none for its blocks.
                window: tier.window.or(self.window),
                behind: tier.behind,
            };
            rows.tier(kv.view(tier.group), shape)
        });
        let tiers: Vec<_> = tiers.collect();
        let queries = QueryRows {
            values: &buffers.projected,
            stride: query_width + 2 * self.key_width(),
        };
        let second = &buffers.second_queries;
        let batch = AttentionBatch {
            queries,
            block_keys: self
                .common_keys
                .map(|common| common.of_blocks(second, query_width)),
            tiers: &tiers,
        };
        let (kernels, pool) = (self.compute.kernels, self.compute.pool);
        attend_batch(kernels, pool, &batch, &mut buffers.attention, attended);
    }
}
