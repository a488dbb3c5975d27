//! A model's weights, packed.

use ruvllm_kernels::PackedMatrix;

use super::linear::Linear;

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
