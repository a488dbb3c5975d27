//! From the rows that somebody wants to what is said of them: norm, head, cap, in this one place.

use crate::batch::{Batch, BatchSequence, Wanted};
use crate::ids::SequenceId;
use crate::profile::Operation;

use super::compute::Compute;
use super::decoder::Decoder;
use super::linear::InputBuffers;
use super::norm::Norm;

/// Rows whose logits are computed together, at most: the head is read once for all of them.
const LOGIT_ROWS: usize = 32;

/// What was wanted of some rows of a sequence, each row behind the one before.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) owner: SequenceId,
    /// Logits or last hidden states, `[rows, width]`.
    pub(crate) values: &'a mut [f32],
    pub(crate) width: usize,
}

/// Buffers between the layers and the outputs, kept between steps.
#[derive(Debug, Default)]
pub(super) struct OutputBuffers {
    /// The wanted rows of the residual stream, where they do not stand together.
    gathered: Vec<f32>,
    /// After the last norm.
    hidden: Vec<f32>,
    input: InputBuffers,
    logits: Vec<f32>,
}

/// Who takes outputs in, as they come.
pub(crate) type Taking<'a> = dyn FnMut(Compute<'_>, Vec<Output<'_>>) + 'a;

impl Decoder<'_> {
    /// Hands over what a batch that went through the layers is computed for: of each sequence its wanted
    /// rows in order, though not all at once.
    pub(super) fn outputs(
        self,
        batch: &Batch,
        residual: &[f32],
        buffers: &mut OutputBuffers,
        take: &mut Taking<'_>,
    ) {
        let wants_hidden = |sequence: &&BatchSequence| sequence.wanted == Wanted::Hidden;
        for sequence in batch.sequences.iter().filter(wants_hidden) {
            let width = self.spec.hidden_size;
            let rows = sequence.range();
            let rows = &residual[rows.start * width..rows.end * width];
            self.output_norm()
                .apply(self.compute, rows, &mut buffers.hidden);
            let output = Output {
                owner: sequence.owner,
                values: &mut buffers.hidden,
                width,
            };
            take(self.compute, vec![output]);
        }
        for group in batch.logit_rows(LOGIT_ROWS) {
            let width = self.spec.hidden_size;
            buffers.gathered.clear();
            for part in &group {
                let rows = part.rows.start * width..part.rows.end * width;
                buffers.gathered.extend_from_slice(&residual[rows]);
            }
            self.logits(buffers);
            let width = self.spec.vocab_size;
            let mut rest = &mut buffers.logits[..];
            let outputs = group.into_iter().map(|part| {
                let (values, behind) =
                    std::mem::take(&mut rest).split_at_mut(part.rows.len() * width);
                rest = behind;
                Output {
                    owner: part.owner,
                    values,
                    width,
                }
            });
            take(self.compute, outputs.collect());
        }
    }

    fn output_norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weights.output_norm,
            epsilon: self.spec.norm_epsilon,
        }
    }

    /// The logits of the gathered rows, `[rows, vocab]`.
    fn logits(self, buffers: &mut OutputBuffers) {
        let OutputBuffers {
            gathered,
            hidden,
            input,
            logits,
        } = buffers;
        let compute = self.compute;
        self.output_norm().apply(compute, gathered, hidden);
        let head = self.weights.head();
        logits.resize(gathered.len() / self.spec.hidden_size * head.width(), 0.0);
        compute.timed(Operation::Head, || {
            head.apply(compute, hidden, input, logits);
        });
        if let Some(cap) = self.spec.final_soft_cap {
            let rows = logits.chunks_mut(self.spec.vocab_size).collect();
            compute.timed(Operation::Sampling, || {
                compute.pool.for_each(rows, 1, |row: &mut [f32]| {
                    compute.kernels.soft_cap(row, cap);
                });
            });
        }
    }
}
