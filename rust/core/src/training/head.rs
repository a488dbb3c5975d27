//! From the last hidden states to losses and log-probabilities, and back: logits of some rows at a time, never of a long
//! text at once.

use ruvllm_kernels::{TransposedBuffers, TransposedProduct, add_transposed};

use crate::ids::TokenId;
use crate::model::{Compute, InputBuffers, Model, Norm};

/// Bytes of logits that are there at once, for which there are as many rows as fit, and at least these.
const LOGIT_BYTES: usize = 32 << 20;
const FEWEST_ROWS: usize = 8;

/// A row whose next token is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Of the residual stream.
    pub(super) row: usize,
    pub(super) ids: &'a [TokenId],
    /// As many as ids.
    pub(super) shares: &'a [f32],
}

/// Norm and head of a model.
pub(super) struct Head<'a> {
    model: &'a Model,
    input: InputBuffers,
    transposed: TransposedBuffers,
    /// `[rows, hidden]`: of the residual stream, and after its norm; the former becomes its gradient.
    gathered: Vec<f32>,
    normed: Vec<f32>,
    normed_gradient: Vec<f32>,
    /// `[rows, vocab]`; they become their gradients.
    logits: Vec<f32>,
}

/// The logits of a row at work.
struct Row<'a> {
    asked: Asked<'a>,
    logits: &'a mut [f32],
    loss: &'a mut f64,
}

impl<'a> Head<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Self {
            model,
            input: InputBuffers::default(),
            transposed: TransposedBuffers::default(),
            gathered: Vec::new(),
            normed: Vec::new(),
            normed_gradient: Vec::new(),
            logits: Vec::new(),
        }
    }

    /// What it holds.
    pub(super) fn bytes(&self) -> usize {
        let own = [
            &self.gathered,
            &self.normed,
            &self.normed_gradient,
            &self.logits,
        ];
        // Each thread has the shares of a row.
        let shares = self.model.threads() * self.model.spec().vocab_size;
        let floats = own.map(Vec::capacity).iter().sum::<usize>() + shares;
        4 * floats + self.input.bytes() + self.transposed.bytes()
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
            self.each_row(asked, losses, |row, shares| {
                *row.loss = loss_of(&row, shares);
                to_gradient(row, shares, cap);
            });
            self.through_head();
            for (asked, row) in asked.iter().zip(self.gathered.chunks_exact(width)) {
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
            let vocab = self.model.spec().vocab_size;
            let rows = self.logits.chunks_exact(vocab).zip(asked).zip(&mut found);
            let Compute { kernels, pool, .. } = self.model.compute();
            pool.for_each(rows.collect(), 1, |((logits, asked), found)| {
                let mut shares = vec![0.0; vocab];
                kernels.softmax(logits, &mut shares);
                let sum = LogSum::new(logits, &shares);
                found.extend(asked.ids.iter().map(|id| sum.log_prob(logits, *id) as f32));
            });
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
        self.gathered.clear();
        for asked in asked {
            self.gathered
                .extend_from_slice(&residual[asked.row * width..][..width]);
        }
        let compute = self.model.compute();
        self.norm().apply(compute, &self.gathered, &mut self.normed);
        self.logits.resize(asked.len() * vocab, 0.0);
        let head = self.model.weights().head();
        head.apply(compute, &self.normed, &mut self.input, &mut self.logits);
        if let Some(cap) = self.model.spec().final_soft_cap {
            let rows = self.logits.chunks_mut(vocab).collect();
            compute.pool.for_each(rows, 1, |row: &mut [f32]| {
                compute.kernels.soft_cap(row, cap);
            });
        }
    }

    /// Shows each row with the shares of its logits.
    fn each_row(
        &mut self,
        asked: &[Asked<'_>],
        losses: &mut [f64],
        work: impl Fn(Row<'_>, &[f32]) + Sync,
    ) {
        let vocab = self.model.spec().vocab_size;
        let rows = self.logits.chunks_exact_mut(vocab).zip(asked).zip(losses);
        let Compute { kernels, pool, .. } = self.model.compute();
        pool.for_each(rows.collect(), 1, |((logits, asked), loss)| {
            let mut shares = vec![0.0; vocab];
            kernels.softmax(logits, &mut shares);
            let row = Row {
                asked: *asked,
                logits,
                loss,
            };
            work(row, &shares);
        });
    }

    /// From the gradients of the logits to those of the gathered rows.
    fn through_head(&mut self) {
        let compute = self.model.compute();
        let Compute { kernels, pool, .. } = compute;
        self.normed_gradient.clear();
        self.normed_gradient.resize(self.gathered.len(), 0.0);
        let matrices = self.model.weights().head().matrices();
        let product = TransposedProduct {
            matrices,
            rows: &self.logits,
            precision: compute.row_precision(matrices),
        };
        let buffers = &mut self.transposed;
        add_transposed(kernels, pool, &product, buffers, &mut self.normed_gradient);
        let norm = self.norm();
        self.normed.fill(0.0);
        let weight = (norm.weight, norm.epsilon);
        kernels.rms_norm_backward(
            &self.gathered,
            weight,
            &self.normed_gradient,
            &mut self.normed,
        );
        std::mem::swap(&mut self.gathered, &mut self.normed);
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

fn loss_of(row: &Row<'_>, shares: &[f32]) -> f64 {
    let sum = LogSum::new(row.logits, shares);
    let asked = row.asked.ids.iter().zip(row.asked.shares);
    let counted = asked.filter(|(_, share)| **share != 0.0);
    let terms = counted.map(|(id, share)| f64::from(*share) * sum.log_prob(row.logits, *id));
    -terms.sum::<f64>()
}

/// With `p` the model's shares and `q` the asked ones, `sum(q) p - q`, times the slope of the cap.
fn to_gradient(row: Row<'_>, shares: &[f32], cap: Option<f32>) {
    let Row { asked, logits, .. } = row;
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
