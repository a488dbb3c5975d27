//! LoRA training through a whole model: its packed weights are read as they are, and only what is trained beside them has
//! gradients.
//!
//! ```text
//! Example ─ Rows ─ Pass ┬ Layer::forward ─ Site (frozen product + B A x), Attention
//!                       ├ Head (losses, gradients of the last hidden states)
//!                       └ Layer::backward ─▶ gradients in AdapterTensors ─ adamw::step
//! ```
//!
//! It knows the model and no engine; whoever trains stands above, and decides what is learned from in which order.

mod adamw;
mod attention;
mod example;
mod head;
mod heads;
mod layer;
mod pass;
mod rotation;
mod rows;
mod settings;
mod site;
mod tensors;
mod trace;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::TokenId;
use crate::model::Model;

pub use example::Example;
use head::Asked;
pub use pass::Keeping;
use pass::{Pass, PassMemory};
use rows::Rows;
pub use settings::{StepSettings, TrainingSettings};
use tensors::AdapterTensors;
pub use tensors::{Kind, Tensor};

/// Rows that go through the layers together, at most, but for a text that is longer: products read each weight once for all
/// of them, and each takes memory.
const ROWS_AT_ONCE: usize = 512;

/// An adapter being trained.
#[derive(Debug)]
pub struct Training {
    model: Arc<Model>,
    maps: AdapterTensors,
    steps: u64,
    memory: PassMemory,
    activation_bytes: usize,
}

impl Training {
    /// An adapter that adds nothing yet.
    pub fn new(model: Arc<Model>, settings: &TrainingSettings) -> Result<Self> {
        Ok(Self {
            maps: AdapterTensors::new(&model, settings)?,
            model,
            steps: 0,
            memory: PassMemory::default(),
            activation_bytes: 0,
        })
    }

    /// What is trained, layer by layer.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.maps.tensors()
    }

    /// One of them.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.maps.tensor(name)
    }

    /// Replaces numbers of one of them.
    pub fn write(&mut self, name: &str, kind: Kind, values: &[f32]) -> Result<()> {
        self.maps.write(name, kind, values)
    }

    /// Steps that were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on as if so many had been made.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Bytes of activations that were held for a way back at once, at most so far.
    pub fn activation_bytes(&self) -> usize {
        self.activation_bytes
    }

    /// The loss of each example; adds its gradients up. An error adds none of them, but for one of a loss that is no number:
    /// then all gradients are cleared.
    pub fn accumulate(&mut self, examples: &[Example<'_>], keeping: Keeping) -> Result<Vec<f64>> {
        for (index, example) in examples.iter().enumerate() {
            example
                .check(self.model.spec())
                .map_err(|error| match error {
                    Error::Config(what) => Error::Config(format!("example {index}: {what}")),
                    other => other,
                })?;
        }
        let mut losses = Vec::with_capacity(examples.len());
        for group in together(examples) {
            let learned = self.learn(group, keeping);
            if learned.is_err() {
                for tensor in self.maps.tensors_mut() {
                    tensor.gradient.fill(0.0);
                }
            }
            losses.extend(learned?);
        }
        Ok(losses)
    }

    /// The log-probability of each of the ids `[n, k]` behind the tokens `[n]` up to its row.
    pub fn log_probs(&self, tokens: &[TokenId], ids: &[TokenId]) -> Result<Vec<f32>> {
        example::check_rows(self.model.spec(), tokens, ids)?;
        let rows = Rows::new(self.model.spec(), [tokens]);
        let width = ids.len() / tokens.len();
        let asked = ids.chunks_exact(width).enumerate().map(|(row, ids)| Asked {
            row,
            ids,
            shares: &[],
        });
        let asked: Vec<_> = asked.collect();
        let pass = Pass {
            model: &self.model,
            rows: &rows,
            memory: &mut PassMemory::default(),
        };
        Ok(pass.log_probs(&self.maps, &asked))
    }

    /// Makes a step of AdamW with what was added up, and clears it; gives the gradient's norm before it was cut.
    pub fn step(&mut self, settings: &StepSettings) -> Result<f64> {
        let norm = adamw::step(&mut self.maps, self.steps, settings)?;
        self.steps += 1;
        Ok(norm)
    }

    fn learn(&mut self, examples: &[Example<'_>], keeping: Keeping) -> Result<Vec<f64>> {
        let texts = examples.iter().map(|example| example.tokens);
        let rows = Rows::new(self.model.spec(), texts);
        let mut asked = Vec::new();
        let mut owners = Vec::new();
        for (owner, (example, text)) in examples.iter().zip(&rows.texts).enumerate() {
            for row in 0..text.len() {
                let (ids, shares) = example.row(row);
                if shares.iter().any(|share| *share != 0.0) {
                    let row = text.start + row;
                    asked.push(Asked { row, ids, shares });
                    owners.push(owner);
                }
            }
        }
        let mut losses = vec![0.0; examples.len()];
        if asked.is_empty() {
            return Ok(losses);
        }
        let mut pass = Pass {
            model: &self.model,
            rows: &rows,
            memory: &mut self.memory,
        };
        let of_rows = pass.learn(&mut self.maps, &asked, keeping);
        let bytes = self.memory.bytes(&self.model);
        self.activation_bytes = self.activation_bytes.max(bytes);
        for (owner, loss) in owners.into_iter().zip(of_rows?) {
            losses[owner] += loss;
        }
        Ok(losses)
    }
}

/// Examples that go through the layers together.
fn together<'a, 'b>(examples: &'b [Example<'a>]) -> impl Iterator<Item = &'b [Example<'a>]> {
    let mut rest = examples;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |example: &&Example<'_>| {
            rows += example.tokens.len();
            rows <= ROWS_AT_ONCE
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, behind) = rest.split_at_checked(count)?;
        rest = behind;
        Some(group)
    })
}
