//! A model at work on the processor, with the memory that it works in.

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::Result;
use crate::kv::{BlockStore, HostBlocks, KvPool};
use crate::profile::Profile;

use super::Model;
use super::compute::Compute;
use super::decoder::{Decoder, Workspace};
use super::input_squares::InputSquares;
use super::outputs::OutputBuffers;
use super::runner::{Runner, Taking};
use super::spec::ModelSpec;

/// A model with its blocks and buffers.
#[derive(Debug)]
pub(crate) struct ModelRunner {
    model: Arc<Model>,
    blocks: HostBlocks,
    work: Workspace,
    outputs: OutputBuffers,
    squares: Option<InputSquares>,
}

impl ModelRunner {
    /// With room for the blocks of a pool.
    pub(crate) fn new(model: Arc<Model>, pool: &KvPool) -> Result<Self> {
        Ok(Self {
            model,
            blocks: HostBlocks::of(pool)?,
            work: Workspace::default(),
            outputs: OutputBuffers::default(),
            squares: None,
        })
    }

    /// Adds up the squares of what goes into each map from here on.
    pub(super) fn watch_inputs(&mut self) {
        self.squares = Some(InputSquares::of(&self.model.header.spec));
    }

    /// What was added up.
    pub(super) fn take_inputs(&mut self) -> Option<InputSquares> {
        self.squares.take()
    }
}

impl Runner for ModelRunner {
    fn spec(&self) -> &ModelSpec {
        self.model.spec()
    }

    fn blocks(&mut self) -> &mut dyn BlockStore {
        &mut self.blocks
    }

    fn run(
        &mut self,
        batch: &mut Batch,
        profile: Option<&Profile>,
        take: &mut Taking<'_>,
    ) -> Result<()> {
        let Model {
            header,
            weights,
            kernels,
            pool,
            precision,
            ..
        } = &*self.model;
        // One arithmetic from the first layer to the head, whatever is exchanged meanwhile.
        let for_step = kernels.for_step();
        let decoder = Decoder {
            spec: &header.spec,
            weights,
            compute: Compute {
                kernels: for_step.as_deref().unwrap_or(&**kernels),
                pool,
                precision: *precision,
                profile,
            },
            squares: self.squares.as_ref(),
        };
        decoder.forward(&mut self.blocks, batch, &mut self.work)?;
        if !batch.is_empty() {
            decoder.outputs(batch, &self.work.residual, &mut self.outputs, take);
        }
        Ok(())
    }
}
