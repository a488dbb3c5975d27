//! Texts through all layers, and back: which inputs and traces of layers are kept, and how much memory that takes.

use crate::error::{Error, Result};
use crate::model::Model;

use super::head::{Asked, Head, HeadBuffers};
use super::layer::{Extent, Layer};
use super::rows::Rows;
use super::tensors::AdapterTensors;
use super::trace::{LayerBuffers, Trace};

/// What of the forward pass is kept for the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// The input of each layer; the rest is computed again.
    Inputs,
    /// All that the way back needs.
    Everything,
}

/// Memory of passes, kept between them.
#[derive(Debug, Default)]
pub(super) struct PassMemory {
    /// The input of each layer that the way back comes to.
    inputs: Vec<Vec<f32>>,
    /// What the way back needs of each of them, where that is kept.
    traces: Vec<Trace>,
    /// The trace of a layer whose own is not kept.
    scratch: Trace,
    layer: LayerBuffers,
    head: HeadBuffers,
    /// The residual stream, and its gradient, `[rows, hidden]`.
    residual: Vec<f32>,
    gradient: Vec<f32>,
}

/// Rows at work on a model.
pub(super) struct Pass<'a> {
    pub(super) model: &'a Model,
    pub(super) rows: &'a Rows,
    pub(super) memory: &'a mut PassMemory,
}

impl PassMemory {
    /// What it takes.
    pub(super) fn bytes(&self, model: &Model) -> usize {
        let traces: usize = self.traces.iter().map(Trace::bytes).sum();
        let inputs: usize = self.inputs.iter().map(Vec::capacity).sum();
        let floats = inputs + self.residual.capacity() + self.gradient.capacity();
        let buffers = self.layer.bytes() + self.head.bytes(model);
        4 * floats + traces + self.scratch.bytes() + buffers
    }
}

impl<'a> Pass<'a> {
    /// The log-probabilities of what is asked for.
    pub(super) fn log_probs(mut self, maps: &AdapterTensors, asked: &[Asked<'_>]) -> Vec<f32> {
        self.forward(maps, None);
        let PassMemory { head, residual, .. } = self.memory;
        Head::new(self.model, head).log_probs(residual, asked)
    }

    /// The loss of each row that is asked for; adds to the gradients. An error, with none added, where a loss is no number.
    pub(super) fn learn(
        &mut self,
        maps: &mut AdapterTensors,
        asked: &[Asked<'_>],
        keeping: Keeping,
    ) -> Result<Vec<f64>> {
        self.forward(maps, Some(keeping));
        let PassMemory {
            head,
            residual,
            gradient,
            ..
        } = &mut *self.memory;
        gradient.clear();
        gradient.resize(residual.len(), 0.0);
        let losses = Head::new(self.model, head).losses(residual, asked, gradient);
        if let Some(loss) = losses.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::Sona(format!(
                "the loss is {loss}: the adapter has grown out of all bounds; go back to an earlier one, and learn slower"
            )));
        }
        self.backward(maps, keeping);
        Ok(losses)
    }

    fn layer(&self, index: usize) -> Layer<'a> {
        Layer {
            compute: self.model.compute(),
            spec: self.model.spec(),
            weights: &self.model.weights().layers[index],
            index,
            rows: self.rows,
        }
    }

    /// Through all layers, to the residual stream behind them.
    fn forward(&mut self, maps: &AdapterTensors, keeping: Option<Keeping>) {
        let weights = self.model.weights();
        let layers = weights.layers.len();
        let tokens = &self.rows.tokens;
        let memory = &mut *self.memory;
        // Another way of keeping, or other rows, need not what the last one left.
        if keeping != Some(Keeping::Everything) {
            memory.traces.clear();
        }
        memory.inputs.resize_with(layers, Vec::new);
        let (compute, spec) = (self.model.compute(), self.model.spec());
        weights.embed(compute, spec, tokens, &mut memory.residual);
        if keeping == Some(Keeping::Everything) {
            memory.traces.resize_with(layers, Trace::default);
        }
        for index in 0..layers {
            let layer = self.layer(index);
            let memory = &mut *self.memory;
            let is_kept = keeping.is_some() && index >= maps.lowest_layer();
            // Layers that nothing comes back to share the first's memory.
            let input = &mut memory.inputs[if is_kept { index } else { 0 }];
            std::mem::swap(input, &mut memory.residual);
            let trace = match memory.traces.get_mut(index) {
                Some(trace) if is_kept => trace,
                _ => &mut memory.scratch,
            };
            let work = (&mut memory.layer, &mut memory.residual);
            layer.forward(maps, input, trace, work, Extent::Whole);
        }
    }

    fn backward(&mut self, maps: &mut AdapterTensors, keeping: Keeping) {
        let lowest = maps.lowest_layer();
        for index in (lowest..self.model.spec().layers.len()).rev() {
            let layer = self.layer(index);
            let PassMemory {
                inputs,
                traces,
                scratch,
                layer: buffers,
                residual,
                gradient,
                ..
            } = &mut *self.memory;
            let input = &inputs[index];
            let trace = match keeping {
                Keeping::Everything => &mut traces[index],
                Keeping::Inputs => {
                    let work = (&mut *buffers, residual);
                    layer.forward(maps, input, scratch, work, Extent::Traced);
                    scratch
                }
            };
            layer.backward(maps, (input, trace), buffers, gradient, index > lowest);
        }
    }
}
