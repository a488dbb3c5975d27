//! Where the rows of a step meet the cache, a layer at a time: keys and values into blocks, queries over them.

use ruvllm_kernels::{
    AttentionSequence, AttentionShape, AttentionTier, KvRows, KvRun, KvTarget, KvView, store_batch,
};

use super::compute::Compute;

/// The rows of some sequences at one tier of a layer.
pub(super) struct TierRows<'a> {
    /// In the blocks.
    pub(super) layer: usize,
    /// Who owns which rows, in order of rows.
    pub(super) sequences: Vec<AttentionSequence<'a>>,
}

impl TierRows<'_> {
    /// Writes keys and values to their blocks.
    pub(super) fn store(&self, compute: Compute<'_>, target: KvTarget<'_>, rows: KvRows<'_>) {
        let runs = self.sequences.iter().flat_map(|sequence| {
            let AttentionSequence {
                first_row,
                rows,
                first_position,
                block_table,
            } = *sequence;
            KvRun::of_table(block_table, first_position, rows, first_row)
        });
        let mut runs: Vec<_> = runs.collect();
        if runs.is_empty() {
            return;
        }
        store_batch(compute.kernels, compute.pool, target, rows, &mut runs);
    }

    /// The same, to be read.
    pub(super) fn tier<'a>(&'a self, kv: KvView<'a>, shape: AttentionShape) -> AttentionTier<'a> {
        AttentionTier {
            kv,
            shape,
            layer: self.layer,
            sequences: &self.sequences,
        }
    }
}
