//! A layer of the decoder, forwards with what the way back needs, and back.
//!
//! It computes what `model/layer.rs` computes, of whole texts and without a cache.

use ruvllm_kernels::TransposedBuffers;

use crate::lora::Site;
use crate::model::spec::ModelSpec;
use crate::model::{Compute, LayerWeights, Linear, Norm};

use super::attention::Attention;
use super::rotation::Rotation;
use super::rows::Rows;
use super::site::{SiteRows, SiteWeights};
use super::tensors::AdapterTensors;
use super::trace::{LayerBuffers, Trace};

/// Rows that one thread takes at a time.
const ROWS_PER_TASK: usize = 16;

/// How far a layer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// To its end.
    Whole,
    /// Only as far as the way back needs it.
    Traced,
}

/// A layer at work on some rows.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) spec: &'a ModelSpec,
    pub(super) weights: &'a LayerWeights,
    pub(super) index: usize,
    pub(super) rows: &'a Rows,
}

impl Layer<'_> {
    /// The residual stream after the layer, of `residual` before it.
    pub(super) fn forward(
        self,
        maps: &AdapterTensors,
        residual: &[f32],
        trace: &mut Trace,
        (buffers, output): (&mut LayerBuffers, &mut Vec<f32>),
        extent: Extent,
    ) {
        self.attention_half(maps, residual, trace, buffers);
        let site = self.site(maps.scale, Site::FeedForwardInput);
        let norm = self.norm(&self.weights.feed_forward_norm);
        norm.apply(self.compute, &trace.middle, &mut buffers.normed);
        let [.., reduced, reduced_down] = &mut trace.reduced;
        site.forward(
            maps.at(self.index, Site::FeedForwardInput),
            &buffers.normed,
            &mut buffers.input,
            (reduced, &mut trace.gate_up),
        );
        self.activate(&trace.gate_up, &mut buffers.activated);
        let site = self.site(maps.scale, Site::FeedForwardOutput);
        let down = maps.at(self.index, Site::FeedForwardOutput);
        let post_norm = self.weights.post_feed_forward_norm.as_deref();
        if extent == Extent::Traced && post_norm.is_none() {
            return site.reduce(down, &buffers.activated, reduced_down);
        }
        let result = &mut buffers.result;
        let (input, activated) = (&mut buffers.input, &buffers.activated);
        site.forward(down, activated, input, (reduced_down, result));
        self.add_result(post_norm, &trace.middle, result, output);
        if post_norm.is_some() {
            std::mem::swap(&mut trace.feed_forward_result, result);
        }
    }

    fn attention_half(
        self,
        maps: &AdapterTensors,
        residual: &[f32],
        trace: &mut Trace,
        buffers: &mut LayerBuffers,
    ) {
        let norm = self.norm(&self.weights.attention_norm);
        norm.apply(self.compute, residual, &mut buffers.normed);
        let [reduced, reduced_output, ..] = &mut trace.reduced;
        self.site(maps.scale, Site::AttentionInput).forward(
            maps.at(self.index, Site::AttentionInput),
            &buffers.normed,
            &mut buffers.input,
            (reduced, &mut trace.rotated),
        );
        let rotation = self.rotation();
        if rotation.has_norms() {
            trace.projected.clone_from(&trace.rotated);
        }
        rotation.forward(&mut trace.rotated);
        let attention = self.attention();
        let width = self.spec.num_heads * self.spec.head_dim;
        trace.attended.resize(self.rows.len() * width, 0.0);
        attention.forward(&trace.rotated, &mut buffers.heads, &mut trace.attended);
        self.site(maps.scale, Site::AttentionOutput).forward(
            maps.at(self.index, Site::AttentionOutput),
            &trace.attended,
            &mut buffers.input,
            (reduced_output, &mut buffers.result),
        );
        let post_norm = self.weights.post_attention_norm.as_deref();
        self.add_result(post_norm, residual, &buffers.result, &mut trace.middle);
        if post_norm.is_some() {
            std::mem::swap(&mut trace.attention_result, &mut buffers.result);
        }
    }

    /// From the gradient of the residual stream after the layer to that before it, in place, and to those of the layer's
    /// tensors. Where `needs_input` is false what is left in `gradient` means nothing. The trace is used up.
    pub(super) fn backward(
        self,
        maps: &mut AdapterTensors,
        (residual, trace): (&[f32], &mut Trace),
        buffers: &mut LayerBuffers,
        gradient: &mut [f32],
        needs_input: bool,
    ) {
        self.feed_forward_back(maps, trace, buffers, gradient);
        let weights = self.weights;
        let post_norm = weights.post_attention_norm.as_deref();
        let result = (&trace.attention_result[..], &mut buffers.result);
        let branch = self.through_result(post_norm, result, gradient);
        let width = self.spec.num_heads * self.spec.head_dim;
        zeros(&mut buffers.attended_gradient, self.rows.len() * width);
        self.site_back(
            (maps, Site::AttentionOutput),
            (&trace.attended, &trace.reduced),
            branch,
            Some((&mut buffers.attended_gradient, &mut buffers.transposed)),
        );
        let attention = self.attention();
        buffers.score_bytes = attention.score_bytes();
        buffers.rotated_gradient.resize(trace.rotated.len(), 0.0);
        attention.backward(
            &trace.rotated,
            &buffers.attended_gradient,
            &mut buffers.heads,
            &mut buffers.rotated_gradient,
        );
        self.rotation()
            .backward(&trace.projected, &mut buffers.rotated_gradient);
        let norm = self.norm(&weights.attention_norm);
        norm.apply(self.compute, residual, &mut buffers.normed);
        zeros(&mut buffers.result, residual.len());
        self.site_back(
            (maps, Site::AttentionInput),
            (&buffers.normed, &trace.reduced),
            &buffers.rotated_gradient,
            needs_input.then_some((&mut buffers.result, &mut buffers.transposed)),
        );
        if needs_input {
            self.norm_back(norm, residual, &buffers.result, gradient);
        }
    }

    fn feed_forward_back(
        self,
        maps: &mut AdapterTensors,
        trace: &mut Trace,
        buffers: &mut LayerBuffers,
        gradient: &mut [f32],
    ) {
        let weights = self.weights;
        let post_norm = weights.post_feed_forward_norm.as_deref();
        let result = (&trace.feed_forward_result[..], &mut buffers.result);
        let branch = self.through_result(post_norm, result, gradient);
        self.activate(&trace.gate_up, &mut buffers.activated);
        zeros(&mut buffers.activated_gradient, buffers.activated.len());
        self.site_back(
            (maps, Site::FeedForwardOutput),
            (&buffers.activated, &trace.reduced),
            branch,
            Some((&mut buffers.activated_gradient, &mut buffers.transposed)),
        );
        let wide = self.spec.feed_forward_size;
        let rows = trace.gate_up.chunks_exact_mut(2 * wide);
        let rows = rows.zip(buffers.activated_gradient.chunks_exact(wide));
        let Compute { kernels, pool, .. } = self.compute;
        pool.for_each(
            rows.collect(),
            1,
            |(row, gradient): (&mut [f32], &[f32])| {
                let halves = row.split_at_mut(wide);
                kernels.gate_backward(self.spec.activation, gradient, halves);
            },
        );
        let norm = self.norm(&weights.feed_forward_norm);
        norm.apply(self.compute, &trace.middle, &mut buffers.normed);
        zeros(&mut buffers.result, trace.middle.len());
        self.site_back(
            (maps, Site::FeedForwardInput),
            (&buffers.normed, &trace.reduced),
            &trace.gate_up,
            Some((&mut buffers.result, &mut buffers.transposed)),
        );
        self.norm_back(norm, &trace.middle, &buffers.result, gradient);
    }

    fn site_back(
        self,
        (maps, site): (&mut AdapterTensors, Site),
        (input, reduced): (&[f32], &[Vec<f32>; 4]),
        gradient: &[f32],
        input_gradient: Option<(&mut [f32], &mut TransposedBuffers)>,
    ) {
        let rows = SiteRows {
            input,
            reduced: &reduced[site as usize],
        };
        let weights = self.site(maps.scale, site);
        weights.backward(
            maps.at_mut(self.index, site),
            rows,
            gradient,
            input_gradient,
        );
    }

    fn norm<'a>(&self, weight: &'a [f32]) -> Norm<'a> {
        Norm {
            weight,
            epsilon: self.spec.norm_epsilon,
        }
    }

    /// `output = residual + result`, or the norm of that result.
    fn add_result(
        self,
        norm: Option<&[f32]>,
        residual: &[f32],
        result: &[f32],
        output: &mut Vec<f32>,
    ) {
        output.clear();
        output.extend_from_slice(residual);
        match norm {
            Some(weight) => self.norm(weight).add_to(self.compute, result, output),
            None => self.compute.kernels.add(result, output),
        }
    }

    /// The gradient of a half's result from that of the residual stream.
    fn through_result<'a>(
        self,
        norm: Option<&[f32]>,
        (result, buffer): (&[f32], &'a mut Vec<f32>),
        gradient: &'a [f32],
    ) -> &'a [f32] {
        let Some(weight) = norm else {
            return gradient;
        };
        zeros(buffer, gradient.len());
        self.norm_back(self.norm(weight), result, gradient, buffer);
        buffer
    }

    /// Adds to `gradient` what `output_gradient` is before a norm.
    fn norm_back(
        self,
        norm: Norm<'_>,
        input: &[f32],
        output_gradient: &[f32],
        gradient: &mut [f32],
    ) {
        let task = ROWS_PER_TASK * norm.weight.len();
        let rows = input.chunks(task).zip(output_gradient.chunks(task));
        let rows = rows.zip(gradient.chunks_mut(task)).collect();
        let Compute { kernels, pool, .. } = self.compute;
        pool.for_each(
            rows,
            1,
            |((input, output), gradient): ((&[f32], &[f32]), &mut [f32])| {
                let weight = (norm.weight, norm.epsilon);
                kernels.rms_norm_backward(input, weight, output, gradient);
            },
        );
    }

    fn activate(self, gate_up: &[f32], activated: &mut Vec<f32>) {
        let wide = self.spec.feed_forward_size;
        activated.resize(gate_up.len() / 2, 0.0);
        let rows = gate_up
            .chunks_exact(2 * wide)
            .zip(activated.chunks_exact_mut(wide));
        let Compute { kernels, pool, .. } = self.compute;
        pool.for_each(rows.collect(), 1, |(row, target): (&[f32], &mut [f32])| {
            let (gate, up) = row.split_at(wide);
            kernels.gate(self.spec.activation, gate, up, target);
        });
    }

    fn rotation(&self) -> Rotation<'_> {
        Rotation {
            compute: self.compute,
            spec: self.spec,
            weights: self.weights,
            rotary: &self.rows.rotary[self.spec.layers[self.index].rope],
        }
    }

    fn attention(&self) -> Attention<'_> {
        Attention {
            compute: self.compute,
            spec: self.spec,
            window: self.spec.layers[self.index].window,
            texts: &self.rows.texts,
            rows: self.rows.len(),
        }
    }
}

impl<'a> Layer<'a> {
    fn site(self, scale: f32, site: Site) -> SiteWeights<'a> {
        SiteWeights {
            compute: self.compute,
            linear: self.linear(site),
            scale,
        }
    }

    fn linear(self, site: Site) -> &'a Linear {
        let weights = self.weights;
        match site {
            Site::AttentionInput => &weights.attention_input,
            Site::AttentionOutput => &weights.attention_output,
            Site::FeedForwardInput => &weights.feed_forward_input,
            Site::FeedForwardOutput => &weights.feed_forward_output,
        }
    }
}

fn zeros(values: &mut Vec<f32>, length: usize) {
    values.clear();
    values.resize(length, 0.0);
}
