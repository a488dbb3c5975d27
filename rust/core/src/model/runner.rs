//! A model at work: batches in, keys and values into the pool, what is wanted of the rows out. Nothing that
//! uses it knows of layers, and it knows of no request: what computes elsewhere would take its place.

use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::Clock;
use crate::error::Result;
use crate::kv::KvPool;
use crate::profile::{Profile, ProfileReport};

use super::Model;
use super::compute::Compute;
use super::decoder::{Decoder, Workspace};
use super::input_squares::InputSquares;
use super::outputs::{OutputBuffers, Taking};

/// A model with the memory that it works in.
#[derive(Debug)]
pub(crate) struct Runner {
    model: Arc<Model>,
    work: Workspace,
    outputs: OutputBuffers,
    profile: Option<Arc<Profile>>,
    squares: Option<InputSquares>,
    steps: u64,
    rows: u64,
}

impl Runner {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            work: Workspace::default(),
            outputs: OutputBuffers::default(),
            profile: None,
            squares: None,
            steps: 0,
            rows: 0,
        }
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Runs a batch to its end and hands over what is wanted of its rows. The batch loses those who cancel
    /// meanwhile; where it is empty afterwards, nothing was computed.
    pub(crate) fn run(
        &mut self,
        kv: &mut KvPool,
        batch: &mut Batch,
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
                profile: self.profile.as_deref(),
            },
            squares: self.squares.as_ref(),
        };
        decoder.forward(kv, batch, &mut self.work)?;
        if batch.is_empty() {
            return Ok(());
        }
        decoder.outputs(batch, &self.work.residual, &mut self.outputs, take);
        self.steps += 1;
        self.rows += batch.tokens.len() as u64;
        Ok(())
    }

    /// Adds up the squares of what goes into each map from here on.
    pub(super) fn watch_inputs(&mut self) {
        self.squares = Some(InputSquares::of(&self.model.header.spec));
    }

    /// What was added up.
    pub(super) fn take_inputs(&mut self) -> Option<InputSquares> {
        self.squares.take()
    }

    /// Batches that were run to their end.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The rows of all of them.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Times what is run from here on; what was recorded before is dropped.
    pub(crate) fn start_profile(&mut self, clock: Arc<dyn Clock>) {
        self.profile = Some(Arc::new(Profile::new(clock)));
    }

    /// What is being recorded.
    pub(crate) fn profile(&self) -> Option<Arc<Profile>> {
        self.profile.clone()
    }

    /// Ends that and gives what was recorded.
    pub(crate) fn take_profile(&mut self) -> Option<ProfileReport> {
        self.profile.take().map(|profile| profile.report())
    }
}
