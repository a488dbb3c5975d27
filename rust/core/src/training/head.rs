//! From the last hidden states to losses and log-probabilities, and back: logits of some rows at a time, never of a long
//! text at once.

use ruvllm_kernels::{TransposedBuffers, TransposedProduct, add_transposed};

use crate::ids::TokenId;
use crate::model::{Compute, InputBuffers, Model, Norm};

/// Bytes of logits that are there at once, for which there are as many rows as fit, and at least these.
const LOGIT_BYTES: usize = 32 << 20;
const FEWEST_ROWS: usize = 8;
/// Rows that one thread takes at a time.
const ROWS_PER_TASK: usize = 8;

/// A row whose next token is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Of the residual stream.
    pub(super) row: usize,
    pub(super) ids: &'a [TokenId],
    /// As many as ids.
    pub(super) shares: &'a [f32],
}

/// What a head works in, kept between passes.
#[derive(Debug, Default)]
pub(super) struct HeadBuffers {
    input: InputBuffers,
    transposed: TransposedBuffers,
    /// `[rows, hidden]`: of the residual stream, and after its norm; the former becomes its gradient.
    gathered: Vec<f32>,
    normed: Vec<f32>,
    normed_gradient: Vec<f32>,
    /// `[rows, vocab]`; they become their gradients.
    logits: Vec<f32>,
}

/// Norm and head of a model.
pub(super) struct Head<'a> {
    model: &'a Model,
    buffers: &'a mut HeadBuffers,
}

impl HeadBuffers {
    /// What they take.
    pub(super) fn bytes(&self, model: &Model) -> usize {
        let own = [
            &self.gathered,
            &self.normed,
            &self.normed_gradient,
            &self.logits,
        ];
        // Each thread has the shares of a row.
        let shares = model.threads() * model.spec().vocab_size;
        let floats = own.map(Vec::capacity).iter().sum::<usize>() + shares;
        4 * floats + self.input.bytes() + self.transposed.bytes()
    }
}

impl<'a> Head<'a> {
    pub(super) fn new(model: &'a Model, buffers: &'a mut HeadBuffers) -> Self {
        Self { model, buffers }
    }

    /// The loss of each row that is asked for; writes the gradients of those rows of `residual` to `gradient`.
    pub(super) fn losses(
        &mut self,
        residual: &[f32],
        asked: &[Asked<'_>],
        gradient: &mut [f32],
    ) -> Vec<f64> {
        let width = self.model.spec().hidden_size;
        let mut losses = vec![0.0; asked.len()];
        let step = self.rows_at_once();
        for (asked, losses) in asked.chunks(step).zip(losses.chunks_mut(step)) {
            self.compute_logits(residual, asked);
            let cap = self.model.spec().final_soft_cap;
            self.each_row(asked, losses, |loss, (asked, logits), shares| {
                *loss = loss_of(asked, logits, shares);
                to_gradient(asked, logits, (shares, cap));
            });
            self.through_head();
            for (asked, row) in asked.iter().zip(self.buffers.gathered.chunks_exact(width)) {
                gradient[asked.row * width..][..width].copy_from_slice(row);
            }
        }
        losses
    }

    /// The log-probability of each id of each row, row by row.
    pub(super) fn log_probs(&mut self, residual: &[f32], asked: &[Asked<'_>]) -> Vec<f32> {
        let mut values = Vec::new();
        for asked in asked.chunks(self.rows_at_once()) {
            self.compute_logits(residual, asked);
            let mut found: Vec<Vec<f32>> = vec![Vec::new(); asked.len()];
            let take = |found: &mut Vec<f32>,
                        (asked, logits): (&Asked<'_>, &mut [f32]),
                        shares: &[f32]| {
                let sum = LogSum::new(logits, shares);
                found.extend(asked.ids.iter().map(|id| sum.log_prob(logits, *id) as f32));
            };
            self.each_row(asked, &mut found, take);
            values.extend(found.into_iter().flatten());
        }
        values
    }

    fn rows_at_once(&self) -> usize {
        (LOGIT_BYTES / (4 * self.model.spec().vocab_size)).max(FEWEST_ROWS)
    }

    fn norm(&self) -> Norm<'a> {
        Norm {
            weight: &self.model.weights().output_norm,
            epsilon: self.model.spec().norm_epsilon,
        }
    }

    fn compute_logits(&mut self, residual: &[f32], asked: &[Asked<'_>]) {
        let (width, vocab) = (self.model.spec().hidden_size, self.model.spec().vocab_size);
        self.buffers.gathered.clear();
        for asked in asked {
            self.buffers
                .gathered
                .extend_from_slice(&residual[asked.row * width..][..width]);
        }
        let compute = self.model.compute();
        self.norm()
            .apply(compute, &self.buffers.gathered, &mut self.buffers.normed);
        self.buffers.logits.resize(asked.len() * vocab, 0.0);
        let head = self.model.weights().head();
        head.apply(
            compute,
            &self.buffers.normed,
            &mut self.buffers.input,
            &mut self.buffers.logits,
        );
        if let Some(cap) = self.model.spec().final_soft_cap {
            let rows = self.buffers.logits.chunks_mut(vocab).collect();
            compute.pool.for_each(rows, 1, |row: &mut [f32]| {
                compute.kernels.soft_cap(row, cap);
            });
        }
    }

    /// Shows each row that is asked for, with its logits, their shares and the place for what it gives.
    fn each_row<T: Send>(
        &mut self,
        asked: &[Asked<'_>],
        results: &mut [T],
        work: impl Fn(&mut T, (&Asked<'_>, &mut [f32]), &[f32]) + Sync,
    ) {
        let vocab = self.model.spec().vocab_size;
        let logits = self.buffers.logits.chunks_mut(ROWS_PER_TASK * vocab);
        let tasks = logits.zip(asked.chunks(ROWS_PER_TASK));
        let tasks = tasks.zip(results.chunks_mut(ROWS_PER_TASK));
        let Compute { kernels, pool, .. } = self.model.compute();
        pool.for_each(
            tasks.collect(),
            1,
            |((logits, asked), results): (_, &mut [T])| {
                let mut shares = vec![0.0; vocab];
                let rows = <[f32]>::chunks_exact_mut(logits, vocab).zip(asked);
                for (row, result) in rows.zip(results) {
                    kernels.softmax(row.0, &mut shares);
                    work(result, (row.1, row.0), &shares);
                }
            },
        );
    }

    /// From the gradients of the logits to those of the gathered rows.
    fn through_head(&mut self) {
        let compute = self.model.compute();
        let Compute { kernels, pool, .. } = compute;
        self.buffers.normed_gradient.clear();
        self.buffers
            .normed_gradient
            .resize(self.buffers.gathered.len(), 0.0);
        let matrices = self.model.weights().head().matrices();
        let product = TransposedProduct {
            matrices,
            rows: &self.buffers.logits,
            precision: compute.row_precision(matrices),
        };
        let buffers = &mut self.buffers.transposed;
        add_transposed(
            kernels,
            pool,
            &product,
            buffers,
            &mut self.buffers.normed_gradient,
        );
        let norm = self.norm();
        self.buffers.normed.fill(0.0);
        let weight = (norm.weight, norm.epsilon);
        kernels.rms_norm_backward(
            &self.buffers.gathered,
            weight,
            &self.buffers.normed_gradient,
            &mut self.buffers.normed,
        );
        std::mem::swap(&mut self.buffers.gathered, &mut self.buffers.normed);
    }
}

/// The logarithm of the sum of `e^logit`, as a difference to the largest: what that one's share is the inverse of.
struct LogSum {
    largest: f32,
    log_share: f64,
}

impl LogSum {
    fn new(logits: &[f32], shares: &[f32]) -> Self {
        let most = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let has_numbers = shares.iter().all(|share| share.is_finite());
        Self {
            largest: most(logits),
            log_share: if has_numbers {
                f64::from(most(shares)).ln()
            } else {
                f64::NAN
            },
        }
    }

    fn log_prob(&self, logits: &[f32], id: TokenId) -> f64 {
        f64::from(logits[id as usize] - self.largest) + self.log_share
    }
}

fn loss_of(asked: &Asked<'_>, logits: &[f32], shares: &[f32]) -> f64 {
    let sum = LogSum::new(logits, shares);
    let counted = asked.ids.iter().zip(asked.shares);
    let counted = counted.filter(|(_, share)| **share != 0.0);
    let terms = counted.map(|(id, share)| f64::from(*share) * sum.log_prob(logits, *id));
    -terms.sum::<f64>()
}

/// With `p` the model's shares and `q` the asked ones, `sum(q) p - q`, times the slope of the cap.
fn to_gradient(asked: &Asked<'_>, logits: &mut [f32], (shares, cap): (&[f32], Option<f32>)) {
    let total = asked
        .shares
        .iter()
        .map(|share| f64::from(*share))
        .sum::<f64>() as f32;
    let slope = |logit: f32| cap.map_or(1.0, |cap| 1.0 - (logit / cap).powi(2));
    let slopes: Vec<f32> = asked
        .ids
        .iter()
        .map(|id| slope(logits[*id as usize]))
        .collect();
    if cap.is_none() {
        for (logit, share) in logits.iter_mut().zip(shares) {
            *logit = total * share;
        }
    } else {
        for (logit, share) in logits.iter_mut().zip(shares) {
            *logit = total * share * slope(*logit);
        }
    }
    for ((id, share), slope) in asked.ids.iter().zip(asked.shares).zip(slopes) {
        logits[*id as usize] -= share * slope;
    }
}
