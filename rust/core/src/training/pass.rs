//! Texts through all layers, and back: which inputs and traces of layers are kept, and how much memory that takes.

use crate::error::{Error, Result};
use crate::model::Model;

use super::head::{Asked, Head};
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

/// Rows at work on a model.
pub(super) struct Pass<'a> {
    model: &'a Model,
    rows: &'a Rows,
    /// The input of each layer that the way back comes to, and what it needs of it, where that is kept.
    inputs: Vec<Vec<f32>>,
    traces: Vec<Trace>,
    buffers: LayerBuffers,
    residual: Vec<f32>,
    /// Bytes that were held at once, at most.
    most_bytes: usize,
}

impl<'a> Pass<'a> {
    pub(super) fn new(model: &'a Model, rows: &'a Rows) -> Self {
        Self {
            model,
            rows,
            inputs: Vec::new(),
            traces: Vec::new(),
            buffers: LayerBuffers::default(),
            residual: Vec::new(),
            most_bytes: 0,
        }
    }

    /// Bytes of activations and gradients that it held at once, at most.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// The log-probabilities of what is asked for.
    pub(super) fn log_probs(mut self, maps: &AdapterTensors, asked: &[Asked<'_>]) -> Vec<f32> {
        self.forward(maps, None);
        Head::new(self.model).log_probs(&self.residual, asked)
    }

    /// The loss of each row that is asked for; adds to the gradients. An error, with none added, where a loss is no number.
    pub(super) fn learn(
        &mut self,
        maps: &mut AdapterTensors,
        asked: &[Asked<'_>],
        keeping: Keeping,
    ) -> Result<Vec<f64>> {
        self.forward(maps, Some(keeping));
        let mut gradient = vec![0.0; self.residual.len()];
        let mut head = Head::new(self.model);
        let losses = head.losses(&self.residual, asked, &mut gradient);
        self.count(head.bytes() + 4 * gradient.len());
        drop(head);
        if let Some(loss) = losses.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::Sona(format!(
                "the loss is {loss}: the adapter has grown out of all bounds; go back to an earlier one, and learn slower"
            )));
        }
        self.backward(maps, &mut gradient);
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

    fn forward(&mut self, maps: &AdapterTensors, keeping: Option<Keeping>) {
        let (model, compute) = (self.model, self.model.compute());
        let tokens = &self.rows.tokens;
        let weights = model.weights();
        weights.embed(compute, model.spec(), tokens, &mut self.residual);
        let mut scratch = Trace::default();
        for index in 0..weights.layers.len() {
            let input = std::mem::take(&mut self.residual);
            let comes_back = keeping.filter(|_| index >= maps.lowest_layer());
            let mut trace = match comes_back {
                Some(Keeping::Everything) => Trace::default(),
                _ => std::mem::take(&mut scratch),
            };
            self.layer(index).forward(
                maps,
                &input,
                &mut trace,
                (&mut self.buffers, &mut self.residual),
                Extent::Whole,
            );
            match comes_back {
                Some(Keeping::Everything) => self.traces.push(trace),
                _ => scratch = trace,
            }
            if comes_back.is_some() {
                self.inputs.push(input);
            }
        }
        self.count(scratch.bytes());
    }

    fn backward(&mut self, maps: &mut AdapterTensors, gradient: &mut [f32]) {
        let (lowest, layers) = (maps.lowest_layer(), self.model.spec().layers.len());
        let mut scratch = Trace::default();
        for index in (lowest..layers).rev() {
            let Some(input) = self.inputs.pop() else {
                return;
            };
            let layer = self.layer(index);
            let kept = self.traces.pop();
            let is_kept = kept.is_some();
            let mut trace = kept.unwrap_or_else(|| {
                let mut trace = std::mem::take(&mut scratch);
                let work = (&mut self.buffers, &mut self.residual);
                layer.forward(maps, &input, &mut trace, work, Extent::Traced);
                trace
            });
            let needs_input = index > lowest;
            let of_layer = (&input[..], &mut trace);
            layer.backward(maps, of_layer, &mut self.buffers, gradient, needs_input);
            self.count(4 * (gradient.len() + input.capacity()) + trace.bytes());
            if !is_kept {
                scratch = trace;
            }
        }
    }

    /// Takes note of what is held, with so many bytes that others hold.
    fn count(&mut self, others: usize) {
        let traces: usize = self.traces.iter().map(Trace::bytes).sum();
        let inputs: usize = self.inputs.iter().map(Vec::capacity).sum();
        let own = traces + 4 * (inputs + self.residual.capacity()) + self.buffers.bytes();
        self.most_bytes = self.most_bytes.max(own + others);
    }
}
