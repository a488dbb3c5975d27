//! What goes into the new file: of each tensor its name there, its shape, and where its numbers come from.

use ruvllm_formats::{Metadata, TensorType};

use crate::error::{Error, Result};
use crate::model::families::StoredTensors;

/// A tensor of the new file.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) name: String,
    /// Outermost first.
    pub(super) shape: Vec<usize>,
    /// The type that it has where it is not quantized.
    pub(super) kept_type: TensorType,
    pub(super) origin: Origin,
}

/// Where a tensor's numbers come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A tensor of the model, its rows in this order; `None`: as they are.
    Tensor(String, Option<Vec<u32>>),
    /// These; of what is small, or is stored otherwise.
    Values(Vec<f32>),
}

/// Everything that the new file says besides its types.
pub(super) struct Plan {
    pub(super) tensors: Vec<Outgoing>,
    pub(super) metadata: Metadata,
    /// What it says that the model's own file does not.
    pub(super) said: Vec<ruvllm_formats::gguf::Entry<'static>>,
}

/// A file that is not written yet, to those who ask what it would be.
pub(super) struct Unwritten<'a>(pub(super) &'a [Outgoing]);

impl StoredTensors for Unwritten<'_> {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.iter().map(|one| one.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let found = self.0.iter().find(|one| one.name == name)?;
        Some(found.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<f32>>> {
        match self.0.iter().find(|one| one.name == name) {
            None => Ok(None),
            Some(Outgoing {
                origin: Origin::Values(values),
                ..
            }) => Ok(Some(values.clone())),
            Some(_) => Err(Error::Model(format!("tensor '{name}' is a matrix"))),
        }
    }
}
