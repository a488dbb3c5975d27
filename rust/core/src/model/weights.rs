//! A model's weights, packed.

use ruvllm_kernels::PackedMatrix;

use crate::ids::TokenId;

use super::common_key::CommonKey;
use super::compute::{Compute, ROWS_PER_TASK};
use super::linear::Linear;
use super::spec::ModelSpec;

/// All weights of a model.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(super) embedding: Linear,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) output_norm: Vec<f32>,
    /// `None`: the embedding.
    pub(super) output: Option<Linear>,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Vec<f32>,
    /// Q over K over V.
    pub(crate) attention_input: Linear,
    /// What its bias makes of all keys of a block.
    pub(super) common_key: Option<CommonKey>,
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) attention_output: Linear,
    pub(crate) post_attention_norm: Option<Vec<f32>>,
    pub(crate) feed_forward_norm: Vec<f32>,
    /// Gate over up.
    pub(crate) feed_forward_input: Linear,
    pub(crate) feed_forward_output: Linear,
    pub(crate) post_feed_forward_norm: Option<Vec<f32>>,
}

impl Weights {
    /// The residual stream of tokens of the vocabulary, `[tokens, hidden]`.
    pub(crate) fn embed(
        &self,
        compute: Compute<'_>,
        spec: &ModelSpec,
        tokens: &[TokenId],
        residual: &mut Vec<f32>,
    ) {
        let (width, scale, table) = (spec.hidden_size, spec.embedding_scale, self.embedding());
        residual.resize(tokens.len() * width, 0.0);
        let rows = tokens.iter().zip(residual.chunks_exact_mut(width));
        let embed = |(token, row): (&TokenId, &mut [f32])| {
            table.decode_row(*token as usize, row);
            if scale != 1.0 {
                for value in row {
                    *value *= scale;
                }
            }
        };
        compute.pool.for_each(rows.collect(), ROWS_PER_TASK, embed);
    }

    /// The table of embedding rows.
    pub(crate) fn embedding(&self) -> &PackedMatrix {
        &self.embedding.matrices()[0]
    }

    /// The output head.
    pub(crate) fn head(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    /// Bytes of the packed matrices.
    pub(crate) fn bytes(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.attention_input,
                &layer.attention_output,
                &layer.feed_forward_input,
                &layer.feed_forward_output,
            ]
        });
        let linears = layers.chain([&self.embedding]).chain(self.output.as_ref());
        linears
            .flat_map(Linear::matrices)
            .map(PackedMatrix::bytes)
            .sum()
    }
}
