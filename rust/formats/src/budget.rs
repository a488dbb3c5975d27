//! How much memory the descriptions of a model may take, whatever its files say.
//!
//! A count that fits the file is no protection by itself: a sparse file of terabytes costs nothing
//! to make, and a value may be many times larger in memory than in the file. So everything that is
//! kept is charged to a budget before it is allocated. The budgets are several times what the
//! largest published models need (some 20 MiB of vocabulary, some 50 000 tensors).

use crate::{FormatError, TensorInfo};

/// Key-values of one model.
const METADATA_BYTES: usize = 48 << 20;
/// Tensor descriptions of one model, over all its files.
const TENSOR_BYTES: usize = 36 << 20;

/// Memory that may still be used.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    pub(crate) fn metadata() -> Self {
        Self::of(METADATA_BYTES)
    }

    pub(crate) fn tensors() -> Self {
        Self::of(TENSOR_BYTES)
    }

    fn of(limit: usize) -> Self {
        Self { left: limit, limit }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Takes memory for `count` things of `size` bytes, found at `offset` of the file.
    pub(crate) fn charge(
        &mut self,
        count: usize,
        size: usize,
        what: &str,
        offset: usize,
    ) -> Result<(), FormatError> {
        let remaining = count
            .checked_mul(size)
            .and_then(|bytes| self.left.checked_sub(bytes));
        self.left = remaining.ok_or_else(|| {
            let problem = format!(
                "with it the descriptions need more than the {} MiB of memory that are allowed",
                self.limit >> 20
            );
            FormatError::invalid(what, offset, problem)
        })?;
        Ok(())
    }

    /// Takes memory for a tensor's description: itself, its name and shape, and its place in the
    /// lists that are made while names and offsets are compared.
    pub(crate) fn charge_tensor(
        &mut self,
        name: &str,
        dimensions: usize,
        offset: usize,
    ) -> Result<(), FormatError> {
        let lists = 2 * size_of::<TensorInfo>() + 96;
        let size = name.len() + dimensions * size_of::<usize>() + lists;
        self.charge(1, size, "tensor description", offset)
    }
}
