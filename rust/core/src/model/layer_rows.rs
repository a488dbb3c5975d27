//! Where the rows of a step meet the cache, a layer at a time: keys and values into blocks, queries over them.

use ruvllm_kernels::{
    AttentionBatch, AttentionBuffers, AttentionSequence, AttentionShape, KvRows, KvRun, KvTarget,
    KvView, QueryRows, attend_batch, store_batch,
};

use super::compute::Compute;

/// The rows of some sequences at one layer.
pub(super) struct LayerRows<'a> {
    pub(super) compute: Compute<'a>,
    pub(super) layer: usize,
    /// Who owns which rows, in order of rows.
    pub(super) sequences: Vec<AttentionSequence<'a>>,
}

impl LayerRows<'_> {
    /// Writes keys and values to their blocks.
    pub(super) fn store(&self, target: KvTarget<'_>, rows: KvRows<'_>) {
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
        let Compute { kernels, pool, .. } = self.compute;
        store_batch(kernels, pool, target, rows, &mut runs);
    }

    /// The attention of every row into `output`, one row behind the other.
    pub(super) fn attend(
        &self,
        kv: KvView<'_>,
        shape: AttentionShape,
        queries: QueryRows<'_>,
        buffers: &mut AttentionBuffers,
        output: &mut [f32],
    ) {
        let batch = AttentionBatch {
            kv,
            shape,
            layer: self.layer,
            queries,
            sequences: &self.sequences,
        };
        let Compute { kernels, pool, .. } = self.compute;
        attend_batch(kernels, pool, &batch, buffers, output);
    }
}
