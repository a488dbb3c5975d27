//! From the rows that somebody wants to what is said of them: norm, head, cap, in this one place.

use crate::batch::{Batch, BatchSequence, OwnedRows, Wanted};
use crate::profile::Operation;

use super::decoder::Decoder;
use super::linear::InputBuffers;
use super::norm::Norm;
use super::runner::{LOGIT_ROWS, Output, Taking};

/// Buffers between the layers and the outputs, kept between steps.
#[derive(Debug, Default)]
pub(super) struct OutputBuffers {
    /// The wanted rows of the residual stream, where they do not stand together.
    gathered: Vec<f32>,
    /// After the last norm.
    hidden: Vec<f32>,
    /// The same before head adapters, where somebody keeps it.
    kept: Vec<f32>,
    input: InputBuffers,
    logits: Vec<f32>,
}

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
                states: &[],
            };
            take(vec![output]);
        }
        for group in batch.logit_rows(LOGIT_ROWS) {
            let width = self.spec.hidden_size;
            buffers.gathered.clear();
            for part in &group {
                let rows = part.rows.start * width..part.rows.end * width;
                buffers.gathered.extend_from_slice(&residual[rows]);
            }
            self.output_norm()
                .apply(self.compute, &buffers.gathered, &mut buffers.hidden);
            self.adapt(batch, &group, buffers);
            self.logits(buffers);
            take(self.shares(batch, &group, buffers));
        }
    }

    /// Adds what each sequence has learned to its hidden states; those that are kept are copied before.
    fn adapt(self, batch: &Batch, group: &[OwnedRows], buffers: &mut OutputBuffers) {
        let OutputBuffers { hidden, kept, .. } = buffers;
        let of = |part: &OwnedRows| &batch.sequences[part.sequence];
        if group.iter().any(|part| of(part).is_captured) {
            kept.clone_from(hidden);
        }
        let mut rest = &mut hidden[..];
        for part in group {
            let length = part.rows.len() * self.spec.hidden_size;
            let (rows, behind) = std::mem::take(&mut rest).split_at_mut(length);
            rest = behind;
            if let Some(head) = &of(part).head {
                head.add_to(self.compute.kernels, rows);
            }
        }
    }

    /// Each part of a group with its own rows.
    fn shares<'a>(
        self,
        batch: &Batch,
        group: &[OwnedRows],
        buffers: &'a mut OutputBuffers,
    ) -> Vec<Output<'a>> {
        let (hidden, width) = (self.spec.hidden_size, self.spec.vocab_size);
        let OutputBuffers { kept, logits, .. } = buffers;
        let mut rest = &mut logits[..];
        let mut first = 0;
        let shares = group.iter().map(|part| {
            let (values, behind) = std::mem::take(&mut rest).split_at_mut(part.rows.len() * width);
            rest = behind;
            let states = first * hidden..(first + part.rows.len()) * hidden;
            first += part.rows.len();
            let is_captured = batch.sequences[part.sequence].is_captured;
            Output {
                owner: part.owner,
                values,
                width,
                states: if is_captured { &kept[states] } else { &[] },
            }
        });
        shares.collect()
    }

    fn output_norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weights.output_norm,
            epsilon: self.spec.norm_epsilon,
        }
    }

    /// The logits of the hidden states, `[rows, vocab]`.
    fn logits(self, buffers: &mut OutputBuffers) {
        let OutputBuffers {
            hidden,
            input,
            logits,
            ..
        } = buffers;
        let compute = self.compute;
        let head = self.weights.head();
        logits.resize(hidden.len() / self.spec.hidden_size * head.width(), 0.0);
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
